"""Pure and fast: no store, no socket, no clock."""
