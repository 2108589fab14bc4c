"""Everything on one machine: embedded stores, child processes, and the stack that runs them all."""
