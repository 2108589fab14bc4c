"""Drains lanes: `python -m workers` keeps RQ workers running, their jobs are shifts, and a shift drains ready lanes."""
