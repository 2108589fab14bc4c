"""Antrian on one machine: embedded stores, the processes that run beside them, and the stack of all of it."""
