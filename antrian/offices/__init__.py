"""Offices and provinces: their catalog, the map, and why somebody may use which."""
