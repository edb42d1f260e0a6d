"""RYLA's rules as tables: which call may go where, and when a fallback has its turn."""

import pytest

from deployments import endpoints
from models.errors import BadRequest
from serve.outside import Outside, nsfw_of, place
from serve.overflow import Decision, Mode, Offer, Reason, Route, Situation, alone, instead
from tests.serve.outside_rig import plan_of

BODY = {True: {"nsfw": True}, False: {"nsfw": False}, None: {}}
SFW, NSFW, UNSAID = False, True, None

RULES = {
    # path: what SFW, NSFW and unmarked calls may fall back to
    "/flux": ("fal-ai/flux/schnell", "flux-schnell", None),
    "/flux-dev": ("fal-ai/flux/dev", "flux-dev", None),
    "/z-image-danrisi": ("fal-ai/z-image/turbo", "z-image", None),
    "/z-image-nsfw": ("z-image", "z-image", "z-image"),
    "/flux-pulid": ("fal-ai/flux-pulid", "flux-pulid", None),
    "/sdxl-instantid": ("fal-ai/flux-pulid", "sdxl-instantid", None),
    "/flux-ipadapter-faceid": ("fal-ai/flux-pulid", None, None),
    "/flux-dev-lora": (None, None, None),
    "/z-image-lora": (None, None, None),
    "/flux-dev-realism": (None, None, None),
    "/qwen-faceswap": (None, None, None),
    "/wan2.6-i2v": (None, None, None),
    "/image-faceswap": (None, None, None),
}


@pytest.mark.parametrize("path", RULES)
def test_the_rules(path):
    endpoint = endpoints()[path]
    plan = plan_of(endpoint)
    found = [place(endpoint, plan, Outside(nsfw)) for nsfw in (SFW, NSFW, UNSAID)]
    names = tuple(None if what is None else getattr(what, "id", None) or what.kind for what in found)
    assert names == RULES[path]


def test_no_nsfw_or_unmarked_call_goes_to_fal_and_no_lora_anywhere():
    for endpoint in endpoints().values():
        if not endpoint.deployments:
            continue
        plan = plan_of(endpoint)
        for nsfw in (NSFW, UNSAID):
            assert not hasattr(place(endpoint, plan, Outside(nsfw, endpoints()["/flux"].fal)), "usd_per_megapixel"), endpoint.path
        if endpoint.lora:
            assert {place(endpoint, plan, Outside(nsfw)) for nsfw in (SFW, NSFW, UNSAID)} == {None}


@pytest.mark.parametrize(
    ("header", "body", "mark"),
    [
        (None, None, None),
        (False, None, False),
        (None, False, False),
        (False, False, False),
        (True, None, True),
        (None, True, True),
        (True, False, True),
        (False, True, True),
    ],
)
def test_marks_that_disagree_mean_nsfw(header, body, mark):
    endpoint = endpoints()["/flux-dev-realism"]
    request = endpoint.request(prompt="a", **BODY[body])
    assert Outside(header).also(request).nsfw is mark


def test_the_header():
    assert [nsfw_of(text) for text in (None, "true", "False ", "TRUE")] == [None, True, False, True]
    with pytest.raises(BadRequest, match="X-NSFW must be true or false"):
        nsfw_of("maybe")


HERE = Decision(Route.CLUSTER, Reason.OFF)
IN_TIME = Decision(Route.CLUSTER, Reason.IN_TIME)
NOWHERE = Decision(Route.NONE, Reason.BREAKER)
NOWHERE_NO_MIRROR = Decision(Route.NONE, Reason.OFF)
MIRROR = Decision(Route.WHOLE, Reason.LATE, Offer(Route.WHOLE, 10.0))
OPEN = Offer(Route.FALLBACK, 8.0, 0.02)
SHUT = Offer(Route.FALLBACK, 8.0, 0.02, Reason.DAY_BUDGET, 60.0)

TURNS = {
    "in time": (IN_TIME, 0, 100, Mode.AUTO, OPEN, Route.CLUSTER),
    "the mirror helps": (MIRROR, 60, 100, Mode.AUTO, OPEN, Route.WHOLE),
    "late, and the mirror cannot help": (HERE, 60, 100, Mode.AUTO, OPEN, Route.FALLBACK),
    "late, and the fallback is no earlier": (HERE, 1, 100, Mode.AUTO, Offer(Route.FALLBACK, 10.5), Route.CLUSTER),
    "late, and the fallback would miss the deadline": (HERE, 60, 5, Mode.AUTO, OPEN, Route.CLUSTER),
    "nowhere": (NOWHERE, 60, 20, Mode.AUTO, OPEN, Route.FALLBACK),
    "nowhere, and nobody knows how long the fallback takes": (
        NOWHERE,
        60,
        5,
        Mode.AUTO,
        Offer(Route.FALLBACK, 8.0, sure=False),
        Route.FALLBACK,
    ),
    "late, and nobody knows": (HERE, 60, 5, Mode.AUTO, Offer(Route.FALLBACK, 8.0, sure=False), Route.CLUSTER),
    "nowhere, and the fallback would miss the deadline": (NOWHERE, 60, 5, Mode.AUTO, OPEN, Route.NONE),
    "over budget": (HERE, 60, 100, Mode.AUTO, SHUT, Route.CLUSTER),
    "nowhere, over budget": (NOWHERE, 60, 20, Mode.AUTO, SHUT, Route.NONE),
    "nowhere, no mirror, over budget": (NOWHERE_NO_MIRROR, 60, 20, Mode.AUTO, SHUT, Route.NONE),
    "never": (HERE, 60, 100, Mode.NEVER, OPEN, Route.CLUSTER),
    "forced to the mirror": (NOWHERE, 60, 100, Mode.FORCE, OPEN, Route.NONE),
}


@pytest.mark.parametrize("name", TURNS)
def test_when_a_fallback_has_its_turn(name):
    decision, wait_s, left_s, mode, offer, route = TURNS[name]
    found = instead(decision, Situation(mode, wait_s, 10.0, left_s, 5.0), offer)
    assert found.route is route
    told = offer.refusal if decision is NOWHERE_NO_MIRROR else decision.reason
    assert found.reason is (Reason.FALLBACK if route is Route.FALLBACK else told)
    if decision is NOWHERE_NO_MIRROR:
        assert found.retry_after_s == offer.refused_for_s
    assert found.fits_here is (route is not Route.FALLBACK or decision.route is Route.CLUSTER)


@pytest.mark.parametrize(
    ("left_s", "offer", "route", "reason"),
    [
        (100, OPEN, Route.FALLBACK, Reason.ASKED),
        (5, OPEN, Route.NONE, Reason.NO_GAIN),
        (100, SHUT, Route.NONE, Reason.DAY_BUDGET),
    ],
)
def test_a_call_for_the_fallback_alone(left_s, offer, route, reason):
    found = alone(Situation(Mode.AUTO, 0.0, 1.0, left_s, 5.0), offer)
    assert (found.route, found.reason) == (route, reason)
    assert found.retry_after_s == (None if offer.refusal is None else 60.0)
