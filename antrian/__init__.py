"""THE CORE: what server, workers and clients share."""
