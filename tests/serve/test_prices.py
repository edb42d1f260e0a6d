import pytest

from deployments import deployments
from modal_burst.backend import Report
from modal_burst.pools import pool
from models.errors import FaultKind
from models.host import Result
from models.runner import Card, Finished
from serve.prices import COLD_START, Prices, report_of_half, with_cold_start

POOL = pool((next(name for name, declared in deployments().items() if declared.burst),))
PRICES = Prices({}, idle_s=10.0)


def report(kind=None, opened_s=None, cold=False, total_s=0.0, charged_s=0.0, idle_s=0.0):
    return Report(POOL, kind, opened_s, cold, total_s, charged_s, idle_s)


TABLE = {
    "on a warm container": (report(opened_s=0.2, total_s=5.2, charged_s=4.0), 4.0),
    "after it had idled": (report(opened_s=0.2, total_s=5.2, charged_s=4.0, idle_s=7.0), 11.0),
    "on one started for it": (report(opened_s=20.0, cold=True, total_s=25.0, charged_s=4.0), 20 + 10 + 4.0),
    "after a wait in which another was started": (report(opened_s=3.0, total_s=8.0, charged_s=4.0), 30 + 10 + 4.0),
    "lost in the middle": (report(FaultKind.INFRA, opened_s=0.2, total_s=5.2), 5.0),
    "left in the middle": (report(FaultKind.CANCELLED, opened_s=0.2, total_s=5.2), 5.0),
    "left before it began": (report(FaultKind.CANCELLED, total_s=2.0), 30 + 10.0),
    "past the deadline before it began": (report(FaultKind.DEADLINE, total_s=50.0), 50 + 10.0),
    "refused": (report(FaultKind.THROTTLED, total_s=0.2), 0.0),
    "not deployed": (report(FaultKind.CONFIG, total_s=0.2), 0.0),
    "lost before it began": (report(FaultKind.INFRA, total_s=9.0), 9.0),
}


@pytest.mark.parametrize("name", TABLE)
def test_what_a_call_has_cost(name):
    told, seconds = TABLE[name]
    assert PRICES.paid_s(told, cold_s=30.0) == pytest.approx(seconds)


def test_the_first_half_of_a_chain_tells_of_its_container_in_its_stages():
    finished = Finished(busy_s=8.0, card=Card("L40S", 0.5))
    cold = with_cold_start(finished, report(opened_s=12.0, cold=True))
    assert cold.seconds == {COLD_START: 12.0}
    assert with_cold_start(finished, report(opened_s=0.2)) is finished
    told = report_of_half(POOL, None, 25.0, [Result(b"", "video/mp4", (cold, Finished()))])
    assert PRICES.paid_s(told, cold_s=30.0) == pytest.approx(12 + 10 + 4.0)
    assert PRICES.paid_s(report_of_half(POOL, FaultKind.INFRA, 25.0, []), cold_s=30.0) == pytest.approx(25.0)
