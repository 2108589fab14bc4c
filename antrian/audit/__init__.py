"""Counts violations of the promises: in the stores, and in what clients observed."""
