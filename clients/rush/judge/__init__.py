"""Evaluates a rush: its numbers, the checks of the promises, the verdict."""
