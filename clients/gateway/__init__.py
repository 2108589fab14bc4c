"""The gateway: HTTP and JSON in, gRPC out. For phones, whose requests it gathers; and for whoever has curl."""

import os

# Before grpc is imported: its core writes past `logging`, no JSON, and a line for each header of anybody's that it cannot
# read. What it has to say to us comes as an exception or a status, too.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
