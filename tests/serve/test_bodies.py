import pytest
from pydantic import AliasChoices, Field

from deployments.spec.fields import Prompt, Seed, Side
from deployments.spec.request import Request
from models.errors import BadRequest
from serve.bodies import parse


class Shape(Request):
    prompt: Prompt
    width: Side = 1024
    steps: int = Field(default=4, ge=1, le=8, validation_alias=AliasChoices("steps", "num_inference_steps"))
    strength: float = 0.5
    seed: Seed = None


def refusal(body: str) -> str:
    with pytest.raises(BadRequest) as caught:
        parse(Shape, body.encode())
    return caught.value.message


def test_other_spellings_reach_the_field_and_null_is_not_given():
    parsed = parse(Shape, b'{"prompt": "a", "num_inference_steps": 8, "width": null, "seed": 0}')
    assert (parsed.steps, parsed.width, parsed.seed) == (8, 1024, 0)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("{}", ["prompt is required"]),
        ('{"prompt": "a", "step": 3}', ["'step' is not a field", "did you mean 'steps'"]),
        ('{"prompt": "a", "zzzzzz": 3}', ["known fields: prompt, width"]),
        ('{"prompt": "a", "steps": 1, "num_inference_steps": 2}', ["another spelling of steps"]),
        ('{"prompt": "a", "steps": 9000}', ["steps:", "8", "got 9000"]),
        ('{"prompt": "a", "steps": "many"}', ["steps:", "integer", "'many'"]),
        ('{"prompt": "a", "width": 1000}', ["width:", "16", "1000"]),
        ('{"prompt": "a", "seed": -1}', ["seed:", "0", "-1"]),
        ('{"prompt": "a", "strength": NaN}', ["strength:", "finite"]),
        ('{"prompt": "a", "strength": 1e999}', ["strength:", "finite"]),
        ('{"prompt": ""}', ["prompt:", "at least 1"]),
        ("[1, 2]", ["object"]),
        ("{prompt", ["not valid JSON"]),
        ("", ["not valid JSON"]),
    ],
)
def test_each_refusal_names_field_value_and_way_out(body: str, words: list[str]):
    message = refusal(body)
    for word in words:
        assert word in message


def test_a_long_wrong_value_is_not_echoed_whole():
    assert len(refusal('{"prompt": "a", "steps": "' + "x" * 100_000 + '"}')) < 400


def test_several_wrong_fields_are_all_named():
    message = refusal('{"prompt": "a", "steps": 0, "seed": -5}')
    assert "steps:" in message
    assert "seed:" in message
