"""The server's metrics tell rpcs of the same name apart."""

from prometheus_client import REGISTRY

from antrian.errors import Reason
from server.metrics import count_refusal


def test_rpcs_of_the_same_name_are_counted_by_service() -> None:
    def refusals(service: str) -> float:
        labels = {"service": service, "rpc": "CancelPerson", "reason": "NOT_CANCELLABLE"}
        return REGISTRY.get_sample_value("antrian_refusals_total", labels) or 0

    before = refusals("antrian.v1.BookingService"), refusals("antrian.v1.OfficeService")
    count_refusal("/antrian.v1.BookingService/CancelPerson", Reason.NOT_CANCELLABLE)
    assert (refusals("antrian.v1.BookingService"), refusals("antrian.v1.OfficeService")) == (before[0] + 1, before[1])
