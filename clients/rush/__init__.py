"""The Friday rush: a load test with a synthetic crowd, which follows each request and reports the results."""
