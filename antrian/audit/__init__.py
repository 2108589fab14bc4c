"""Counts violations of the promises in the stores and in client histories."""
