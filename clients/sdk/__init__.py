"""The Python client library of both services."""
