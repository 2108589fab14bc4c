"""The whole Antrian of the acceptance tests, with its workers, for what passes validation."""

from tests.acceptance.conftest import opens, stack, start_stack, window

__all__ = ["opens", "stack", "start_stack", "window"]
