"""The gateway against its document."""
