"""The core that server, workers and clients share."""
