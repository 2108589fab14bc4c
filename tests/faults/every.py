"""All faults: importing them fills the list."""

from tests.faults import (
    callers,
    network,
    overload,
    processes,
    stores_postgres,
    stores_rebuild,
    stores_redis,
    stores_replicas,
)
from tests.faults.fault import FAULTS

__all__ = [
    "FAULTS",
    "callers",
    "network",
    "overload",
    "processes",
    "stores_postgres",
    "stores_rebuild",
    "stores_redis",
    "stores_replicas",
]
