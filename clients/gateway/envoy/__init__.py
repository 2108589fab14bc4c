"""Envoy's gRPC-JSON transcoder, the alternative to the gateway for those who run Envoy anyway: see README.md."""
