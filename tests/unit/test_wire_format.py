"""What other releases and other processes read: not to be changed by accident."""

from importlib import import_module

from antrian.booking import Slot
from workers import shift


def test_the_path_and_queue_of_the_shift_job_do_not_change() -> None:
    assert (shift.JOB, shift.QUEUE) == ("workers.shift.work", "shifts")
    module, function = shift.JOB.rsplit(".", 1)
    assert callable(getattr(import_module(module), function))


def test_slot_names_in_redis_round_trip() -> None:
    assert str(Slot.parse("2026-11-30M")) == "2026-11-30M"
    assert str(Slot.parse("2026-11-30A")) == "2026-11-30A"
