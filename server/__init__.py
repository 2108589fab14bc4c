"""REQUESTS COME IN: `python -m server` answers them over gRPC."""
