"""The real programs, called over gRPC."""
