import pytest

from models.errors import BadRequest
from models.sdxl.samplers import SAMPLERS, SCHEDULES, scheduler_for
from models.torchvision_ops import declare

STEPS = 6

# diffusers' schedulers turn tensors into arrays in a way that numpy 2 warns of
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def config():
    declare()
    from diffusers import EulerDiscreteScheduler

    own = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
    return EulerDiscreteScheduler(timestep_spacing="leading", **own).config


def noise_levels(config, sampler, schedule):
    scheduler = scheduler_for(config, sampler, schedule)
    scheduler.set_timesteps(STEPS)
    return [float(level) for level in scheduler.sigmas]


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_pair_falls_from_full_noise_to_none(config, sampler, schedule):
    levels = noise_levels(config, sampler, schedule)
    assert len(levels) == STEPS + 1
    assert levels[0] == pytest.approx(14.61, abs=0.01)
    assert levels[-1] == 0
    assert levels == sorted(levels, reverse=True)


def test_karras_follows_its_formula(config):
    high, low, rho = 14.6146, 0.0292, 7
    want = [(high ** (1 / rho) + n / (STEPS - 1) * (low ** (1 / rho) - high ** (1 / rho))) ** rho for n in range(STEPS)]
    for sampler in SAMPLERS:
        assert noise_levels(config, sampler, "karras")[:-1] == pytest.approx(want, rel=0.01)


def test_normal_ends_at_the_least_noise_and_simple_spaces_from_the_top(config):
    assert noise_levels(config, "euler", "normal")[-2] == pytest.approx(0.029, abs=0.001)
    assert noise_levels(config, "euler", "simple")[-2] == pytest.approx(0.49, abs=0.01)


def test_unknown_names_are_answered_with_the_known_ones(config):
    with pytest.raises(BadRequest, match="euler, euler_ancestral, dpmpp_2m, dpmpp_2m_sde; got 'plms'"):
        scheduler_for(config, "plms", "normal")
    with pytest.raises(BadRequest, match="normal, simple"):
        scheduler_for(config, "euler", "linear")
