"""The Friday rush: a synthetic crowd that presses "book" at 14:00, what became of each request, and a report of it."""
