"""THE CALLERS: the SDK, the command line, and the rush."""
