"""The gateway serves BookingService over HTTP with JSON. It calls the servers by gRPC, and batches the requests of phones."""

import os

# This must happen before grpc is imported. Its core bypasses `logging`, and writes a line for every invalid header of a
# client. All its errors also reach us as exceptions or statuses.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
