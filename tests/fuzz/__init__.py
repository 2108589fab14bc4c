"""Random input to every rpc: the result is a response or a refusal with a reason, and never contains a NIK."""
