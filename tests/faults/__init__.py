"""Faults that are really injected into a running Antrian, under load, with every promise checked afterwards."""
