"""The gateway: HTTP and JSON in, gRPC out. For phones, whose requests it gathers; and for whoever has curl."""
