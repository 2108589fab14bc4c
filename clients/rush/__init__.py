"""The Friday rush: a synthetic crowd that submits its requests at 14:00, what became of each request, and a report of it."""
