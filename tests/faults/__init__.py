"""Faults injected into a running Antrian under load, with every promise checked afterwards."""
