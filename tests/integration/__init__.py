"""Every script and statement, on real stores."""
