"""The running Antrian of the acceptance tests, for requests that pass validation."""

from tests.acceptance.conftest import opens, stack, start_stack, window

__all__ = ["opens", "stack", "start_stack", "window"]
