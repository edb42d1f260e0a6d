"""What answers `POST /generate`: which endpoint, with which numbers. The choice is data; the first rule that holds decides."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from deployments.spec.fal import bare_input, picture_input
from deployments.spec.fallback import FalModel
from deployments.spec.studio import Method, Quality, Selection, StudioRequest
from models.errors import BadRequest

# Families by the ids that Studio and fal have for their models.
_FAMILY: Final[Mapping[str, str]] = {
    "flux-schnell": "schnell",
    "fal-ai/flux/schnell": "schnell",
    "flux-dev": "dev",
    "fal-ai/flux/dev": "dev",
    "z-image-turbo": "z-image",
    "fal-ai/z-image/turbo": "z-image",
    "ryla-soul": "z-image",
    "comfyui-default": "z-image",
    "z-image-danrisi": "z-image",
    "z-image-simple": "z-image",
    "qwen-image-2512": "qwen",
    "fal-ai/qwen-image-2512": "qwen",
    "qwen-image-2512-fast": "qwen-fast",
    "qwen-image-2512-lora": "qwen",
}

# Endpoint of a family by quality, without and with a LoRA.
_PLAIN: Final[Mapping[str, Mapping[Quality, str]]] = {
    "schnell": {"draft": "/flux", "standard": "/flux", "hq": "/flux"},
    "dev": {"draft": "/flux", "standard": "/flux-dev", "hq": "/flux-dev"},
    "z-image": {"draft": "/z-image-simple", "standard": "/z-image-danrisi", "hq": "/z-image-danrisi"},
    "qwen": {"draft": "/qwen-image-2512-fast", "standard": "/qwen-image-2512", "hq": "/qwen-image-2512"},
    "qwen-fast": {"draft": "/qwen-image-2512-fast", "standard": "/qwen-image-2512-fast", "hq": "/qwen-image-2512-fast"},
    "adult": {"draft": "/z-image-nsfw", "standard": "/z-image-nsfw", "hq": "/z-image-nsfw"},
}
_LORA: Final[Mapping[str, str]] = {
    "schnell": "/flux-dev-lora",
    "dev": "/flux-dev-lora",
    "adult": "/flux-dev-lora",
    "z-image": "/z-image-lora",
    "qwen": "/qwen-image-2512-lora",
    "qwen-fast": "/qwen-image-2512-lora",
}
# Endpoint of a method, and its field for the strength of the face.
_REFERENCE: Final[Mapping[Method, tuple[str, str]]] = {
    "instantid": ("/sdxl-instantid", "instantid_strength"),
    "pulid": ("/flux-pulid", "pulid_weight"),
    "ipadapter": ("/flux-ipadapter-faceid", "ipadapter_strength"),
}
_STEPS: Final[Mapping[str, Mapping[Quality, int]]] = {
    "/flux-dev": {"hq": 28},
    "/flux-dev-lora": {"draft": 12, "hq": 28},
    "/z-image-nsfw": {"standard": 8, "hq": 9},
    "/z-image-danrisi": {"hq": 9},
    "/flux-pulid": {"draft": 12, "hq": 28},
    "/sdxl-instantid": {"draft": 15, "hq": 30},
    "/flux-ipadapter-faceid": {"draft": 12, "hq": 28},
}

# Models that fal alone has, by Studio's id and by fal's.
_FAL_ALONE: Final[Mapping[str, FalModel]] = {
    alias: model
    for aliases, model in (
        (
            ("seedream-45", "fal-ai/bytedance/seedream/v4.5/text-to-image"),
            FalModel(
                id="fal-ai/bytedance/seedream/v4.5/text-to-image",
                usd_per_image=0.04,
                arguments=partial(bare_input, scale=2),
                expected_s=15,
                strict=True,
            ),
        ),
        (
            ("flux-2", "fal-ai/flux-2"),
            FalModel(
                id="fal-ai/flux-2", usd_per_megapixel=0.012, arguments=partial(picture_input, steps=(4, 50), guidance=(1, 20)), expected_s=8
            ),
        ),
    )
    for alias in aliases
}


@dataclass(frozen=True, slots=True)
class _Rule:
    """One line of the choice: its name, when it holds, and what it selects."""

    name: str
    holds: Callable[[StudioRequest], bool]
    select: Callable[[StudioRequest], Selection]


def _family(asked: StudioRequest) -> str:
    default = "adult" if asked.nsfw else "dev"
    return default if asked.model_preference is None else _FAMILY.get(asked.model_preference, default)


def _body(asked: StudioRequest, path: str, **more: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"prompt": asked.prompt, "aspect_ratio": asked.aspect, "output_format": asked.output_format}
    body |= {"negative_prompt": asked.negative_prompt, "seed": asked.seed, "steps": _STEPS.get(path, {}).get(asked.quality)} | more
    return {name: value for name, value in body.items() if value is not None}


def _with_lora(asked: StudioRequest) -> Selection:
    path = _LORA[_family(asked)]
    return Selection("lora", path, _body(asked, path, lora_id=asked.lora_id, lora_strength=asked.lora_strength))


def _with_reference(asked: StudioRequest) -> Selection:
    path, strength = _REFERENCE[asked.reference_method]
    return Selection("reference", path, _body(asked, path, **{strength: asked.reference_strength}), reference="reference_image")


def _at_fal_alone(asked: StudioRequest) -> Selection:
    return Selection("fal-model", "/flux-dev", _body(asked, "/flux-dev"), _FAL_ALONE[str(asked.model_preference)])


def _plainly(rule: str) -> Callable[[StudioRequest], Selection]:
    def select(asked: StudioRequest) -> Selection:
        path = _PLAIN[_family(asked)][asked.quality]
        return Selection(rule, path, _body(asked, path))

    return select


RULES: Final = (
    _Rule("lora", lambda asked: asked.use_lora, _with_lora),  # LoRAs live on the cluster and its mirror
    _Rule("reference", lambda asked: asked.reference_image_url is not None, _with_reference),
    _Rule("nsfw", lambda asked: asked.nsfw, _plainly("nsfw")),  # never at fal, whatever provider or model is asked for
    _Rule("fal-model", lambda asked: asked.model_preference in _FAL_ALONE, _at_fal_alone),
    _Rule("model", lambda asked: asked.model_preference is not None, _plainly("model")),
    _Rule("quality", lambda asked: True, _plainly("quality")),
)


def known_models() -> tuple[str, ...]:
    """Every id that `modelPreference` may be."""
    return (*_FAMILY, *_FAL_ALONE)


def select(asked: StudioRequest) -> Selection:
    """What answers Studio's request. Raises BadRequest for a model that nobody here knows."""
    if asked.model_preference is not None and asked.model_preference not in known_models():
        raise BadRequest(f"modelPreference must be one of {', '.join(known_models())}; got {asked.model_preference!r}")
    return next(rule.select(asked) for rule in RULES if rule.holds(asked))
