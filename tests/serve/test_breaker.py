import pytest

from models.errors import FaultKind
from serve.breaker import Breaker, BreakerRules, State

RULES = BreakerRules(failures=3, window=5, pause_s=10, longest_s=30, setup_s=60, calls=8)


@pytest.fixture
def breaker() -> Breaker:
    return Breaker("pool", RULES)


def call(breaker: Breaker, kind: FaultKind | None, now: float = 0.0, retry_after_s: float | None = None) -> None:
    breaker.sent(now)
    breaker.ended(kind, now, retry_after_s)


def test_a_broken_setup_opens_it_at_once(breaker):
    call(breaker, FaultKind.CONFIG)
    assert breaker.state(59) is State.OPEN
    assert breaker.refuses_for(20) == 40
    assert breaker.state(60) is State.HALF_OPEN


def test_a_broken_platform_opens_it_after_some_of_the_last_calls(breaker):
    for kind in (FaultKind.INFRA, FaultKind.INFRA, None, None, None, None, FaultKind.INFRA, FaultKind.INFRA):
        call(breaker, kind)
        assert breaker.state(0) is State.CLOSED
    call(breaker, FaultKind.INFRA)
    assert breaker.state(9) is State.OPEN


@pytest.mark.parametrize("kind", [FaultKind.MODEL, FaultKind.CANCELLED, FaultKind.DEADLINE])
def test_the_models_own_answers_deadlines_and_callers_that_leave_never_open_it(breaker, kind):
    for _ in range(50):
        call(breaker, kind)
    assert breaker.state(0) is State.CLOSED
    assert breaker.refuses_for(0) is None


def opened(breaker: Breaker) -> None:
    for _ in range(3):
        call(breaker, FaultKind.INFRA)


def test_half_open_it_lets_one_probe_pass(breaker):
    opened(breaker)
    assert breaker.refuses_for(10) is None
    breaker.sent(10)
    assert breaker.refuses_for(10) is not None
    breaker.ended(None, 12)
    assert breaker.state(12) is State.CLOSED
    assert breaker.refuses_for(12) is None


@pytest.mark.parametrize("kind", [FaultKind.INFRA, FaultKind.DEADLINE])
def test_failed_probes_double_the_pause_up_to_the_longest(breaker, kind):
    opened(breaker)
    now = 10.0
    for pause in (20, 30, 30):
        call(breaker, kind, now)
        assert breaker.refuses_for(now) == pause
        now += pause
    call(breaker, None, now)
    opened(breaker)
    assert breaker.refuses_for(0) == 10


def test_a_probe_that_its_caller_leaves_makes_way_for_the_next(breaker):
    opened(breaker)
    call(breaker, FaultKind.CANCELLED, 10)
    assert breaker.state(10) is State.HALF_OPEN
    assert breaker.refuses_for(10) is None


def test_calls_that_were_out_when_it_opened_do_not_prolong_it(breaker):
    for _ in range(6):
        breaker.sent(0)
    for _ in range(6):
        breaker.ended(FaultKind.INFRA, 0)
    assert breaker.refuses_for(10) is None


def test_throttled_it_halves_the_calls_and_waits_as_told(breaker):
    for _ in range(8):
        breaker.sent(0)
    assert breaker.refuses_for(0) == 1
    breaker.ended(FaultKind.THROTTLED, 0, 3.0)
    assert breaker.state(0) is State.CLOSED
    assert breaker.refuses_for(1) == 2
    assert breaker.refuses_for(3) == 1  # seven are still out, four may be
    for _ in range(4):
        breaker.ended(None, 3)
    assert breaker.refuses_for(3) is None
    for _ in range(60):
        call(breaker, None, 4)
    for _ in range(5):
        assert breaker.refuses_for(4) is None
        breaker.sent(4)
    assert breaker.refuses_for(4) == 1  # back at eight
