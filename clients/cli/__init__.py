"""The command line, `antrian`."""
