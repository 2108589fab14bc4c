"""THE LINE IS DRAINED: `python -m workers` keeps RQ workers alive; their jobs are shifts; a shift drains lanes."""
