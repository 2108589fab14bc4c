"""Small faults put into the scripts and statements, one at a time, to see whether the tests notice: `make mutants`."""
