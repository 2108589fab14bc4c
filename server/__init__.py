"""The gRPC server: `python -m server`."""

import os

# Set before grpc is imported: its core logs to stderr past `logging`, not as JSON, and one line per unreadable header, which
# any client could send. Errors reach this program as exceptions and statuses anyway.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
