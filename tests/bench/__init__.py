"""Measurements, as ratios between things that run side by side; nothing here asserts a time."""
