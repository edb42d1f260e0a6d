import pytest

from models.runner import Card, Finished
from serve.cost import bill
from serve.settings import LIST_RATES


def test_cost_is_seconds_times_share_times_rate_over_all_stages():
    video = Finished(busy_s=10.0, card=Card("A100-80GB", 0.5))
    swap = Finished(busy_s=2.0, card=Card("L40S", 0.25))
    made = bill([video, swap], LIST_RATES)
    assert made.usd == pytest.approx(10 * 0.5 * 0.000694 + 2 * 0.25 * 0.000542, abs=1e-6)
    assert made.gpu_seconds == 5.5
    assert made.gpu == "A100-80GB+L40S"


def test_one_card_is_named_once_and_an_unknown_one_is_charged_as_l40s():
    made = bill([Finished(busy_s=1.0, card=Card("B200")), Finished(busy_s=1.0, card=Card("B200"))], LIST_RATES)
    assert made.gpu == "B200"
    assert made.usd == pytest.approx(2 * LIST_RATES["L40S"], abs=1e-6)
