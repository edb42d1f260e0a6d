"""The decision as a table: one row a situation."""

import pytest

from serve.overflow import HIGH, LOW, Decision, Mode, Offer, Reason, Route, Situation, Tide, decide

HOUR = 3600.0


def here(wait_s=0.0, service_s=10.0, left_s=HOUR, late_s=10.0, mode=Mode.AUTO, **rest):
    return Situation(mode=mode, wait_s=wait_s, service_s=service_s, left_s=left_s, late_s=late_s, **rest)


def whole(done_s=40.0, usd=0.05, refusal=None, refused_for_s=None):
    return Offer(Route.WHOLE, done_s, usd, refusal, refused_for_s)


def part(done_s=40.0, usd=0.05, refusal=None):
    return Offer(Route.PART, done_s, usd, refusal)


TABLE = {
    "idle": (here(), [whole()], Route.CLUSTER, Reason.IN_TIME),
    "a wait at the mark": (here(10), [whole(1)], Route.CLUSTER, Reason.IN_TIME),
    "a wait over the mark": (here(60), [whole()], Route.WHOLE, Reason.LATE),
    "the mirror is no earlier": (here(30), [whole(39.5)], Route.CLUSTER, Reason.NO_GAIN),
    "the mirror is a second earlier": (here(30), [whole(39)], Route.WHOLE, Reason.LATE),
    "not mirrored": (here(60), [], Route.CLUSTER, Reason.NOT_MIRRORED),
    "breaker": (here(60), [whole(refusal=Reason.BREAKER)], Route.CLUSTER, Reason.BREAKER),
    "over budget": (here(60), [whole(refusal=Reason.DAY_BUDGET)], Route.CLUSTER, Reason.DAY_BUDGET),
    "one way refused, one open": (here(60), [whole(refusal=Reason.SLOTS), part()], Route.PART, Reason.LATE),
    "part is first": (here(600), [whole(90), part(60)], Route.PART, Reason.LATE),
    "whole is first": (here(600), [whole(60), part(90)], Route.WHOLE, Reason.LATE),
    "together: the cheaper": (here(600), [whole(60.1, 0.05), part(59.9, 0.04)], Route.PART, Reason.LATE),
    "never": (here(500, mode=Mode.NEVER), [whole()], Route.CLUSTER, Reason.ASKED),
    "never, and too late": (here(500, left_s=60, mode=Mode.NEVER), [whole()], Route.NONE, Reason.ASKED),
    "forced": (here(mode=Mode.FORCE), [whole()], Route.WHOLE, Reason.ASKED),
    "forced, refused": (here(mode=Mode.FORCE), [whole(refusal=Reason.BREAKER)], Route.NONE, Reason.BREAKER),
    "forced, not mirrored": (here(mode=Mode.FORCE), [], Route.NONE, Reason.NOT_MIRRORED),
    "forced, past the deadline": (here(mode=Mode.FORCE, left_s=20), [whole()], Route.NONE, Reason.NO_GAIN),
    "the deadline is nearer than the mark": (here(8, left_s=15), [whole(12)], Route.WHOLE, Reason.DEADLINE),
    "for the deadline any gain will do": (here(8, left_s=17.9), [whole(17.8)], Route.WHOLE, Reason.DEADLINE),
    "nobody meets the deadline": (here(60, left_s=30), [whole()], Route.NONE, Reason.NO_GAIN),
    "over budget and late": (here(60, left_s=30), [whole(20, refusal=Reason.TENANT_BUDGET)], Route.NONE, Reason.TENANT_BUDGET),
    "an idle replica tries, whatever was predicted": (here(0, service_s=60, left_s=30), [whole()], Route.CLUSTER, Reason.IN_TIME),
    "a guessed service time refuses nobody": (here(5, service_s=60, left_s=30, sure=False), [whole()], Route.CLUSTER, Reason.IN_TIME),
    "full": (here(0, full=True), [whole()], Route.WHOLE, Reason.FULL),
    "full, and over budget": (here(0, full=True), [whole(refusal=Reason.MINUTE_BUDGET)], Route.NONE, Reason.MINUTE_BUDGET),
}


@pytest.mark.parametrize("name", TABLE)
def test_the_table(name):
    situation, offers, route, reason = TABLE[name]
    decision = decide(situation, lambda: offers)
    assert (decision.route, decision.reason) == (route, reason)
    assert (decision.offer is not None) == (route in (Route.WHOLE, Route.PART))
    assert decision.offer is None or decision.offer.route is route


RETRY = {
    "when the line here is short enough": (here(60, left_s=30), [], 40.0),
    "when the breaker may close, if that is sooner": (here(60, left_s=30), [whole(25, refusal=Reason.BREAKER, refused_for_s=12)], 12.0),
    "an offer that would be late anyway does not count": (here(60, left_s=30), [whole(31, refusal=Reason.BREAKER, refused_for_s=12)], 40.0),
    "unknown when it can never fit": (here(60, service_s=50, left_s=30), [], None),
    "full: when the line has passed": (here(7, full=True), [], 7.0),
    "at least a second": (here(0, full=True), [], 1.0),
    "forced: the line here is no way out": (here(mode=Mode.FORCE), [whole(refusal=Reason.MINUTE_BUDGET, refused_for_s=44)], 44.0),
}


@pytest.mark.parametrize("name", RETRY)
def test_when_to_try_again(name):
    situation, offers, retry_after_s = RETRY[name]
    decision = decide(situation, lambda: offers)
    assert (decision.route, decision.retry_after_s) == (Route.NONE, retry_after_s)


def test_offers_are_asked_for_only_when_they_matter():
    def never():
        raise AssertionError

    assert decide(here(3), never) == Decision(Route.CLUSTER, Reason.IN_TIME)
    assert decide(here(300, mode=Mode.NEVER), never).route is Route.CLUSTER


def test_the_tide_rises_at_once_and_falls_slowly():
    def after(tide: Tide, wait_s: float, now: float) -> Tide:
        return tide.after(wait_s, now, high_s=10, low_s=4, dwell_s=30)

    assert after(LOW, 9, 0) is LOW
    tide = after(LOW, 11, 0)
    assert tide is HIGH
    assert after(tide, 5, 1) is HIGH  # between the marks it stays as it is
    tide = after(tide, 3, 2)
    assert tide.high
    assert after(tide, 4, 31.9).high
    assert after(tide, 5, 31.9).calm_since is None  # the calm is over
    assert after(tide, 0, 32) is LOW
