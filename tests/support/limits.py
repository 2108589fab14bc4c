"""Limits on requests for tests that are not about them."""

from antrian.booking import RequestLimit, RequestLimits

ANY = RequestLimit(1, 0)
"""Any number of requests."""

NO_LIMITS = RequestLimits(ANY, ANY, ANY)
