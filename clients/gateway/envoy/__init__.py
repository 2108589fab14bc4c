"""The configuration of Envoy's gRPC-JSON transcoder, an alternative to the gateway: see docs/gateway.md."""
