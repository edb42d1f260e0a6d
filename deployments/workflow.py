"""ComfyUI API graphs: recognised, read, and routed to the endpoint that makes what they mean."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import Field, JsonValue, ValidationError

from deployments.spec.comfy import Graph
from deployments.spec.endpoint import Endpoint, Plan
from deployments.spec.fields import Prompt
from deployments.spec.request import Request
from models.errors import BadRequest


class WorkflowRequest(Request):
    """A graph as ComfyUI's 'Save (API Format)' writes it; pictures in LoadImage nodes are data URLs or base64."""

    workflow: dict[str, JsonValue] = Field(description="The graph: node id to class_type and inputs.")
    prompt: Prompt | None = Field(default=None, description="Instead of the graph's own positive prompt.")

    @property
    def seed(self) -> int | None:
        """The graph's own seed, so that the reply tells the true one."""
        return parameters(Graph(self.workflow)).get("seed")


@dataclass(frozen=True, slots=True)
class _Signs:
    """What of a graph decides the endpoint: its classes, its model files, and its LoRAs."""

    kinds: str
    models: str
    fast: bool
    styled: bool  # by a LoRA that is not there for speed

    def has(self, *parts: str) -> bool:
        return any(part in self.kinds or part in self.models for part in parts)


def meant_by(graph: Graph) -> str:
    """Path of the endpoint that `graph` means. Raises BadRequest with what was found."""
    loras = _loras(graph)
    quick = [name for name, _ in loras if "lightning" in name.lower()]
    fast = bool(quick) or parameters(graph).get("steps") == 4
    signs = _Signs(graph.kinds, graph.models, fast, styled=len(quick) < len(loras))
    path = next(filter(None, (rule(signs) for rule in (_qwen, _wan, _z_image, _flux, _others))), None)
    if path is None:
        raise BadRequest(
            f"workflow is not one that an endpoint answers; found classes: {graph.kinds or 'none'}; models: {graph.models or 'none'}"
        )
    return path


def _qwen(signs: _Signs) -> str | None:
    if not signs.has("qwen_image", "qwen-image", "qwen_2512", "qwen_2511"):
        return None
    if signs.has("edit", "instruction"):
        return "/qwen-image-inpaint-2511" if signs.has("mask", "inpaint") else "/qwen-image-edit-2511"
    if signs.styled:
        return "/qwen-image-2512-lora"
    return "/qwen-image-2512-fast" if signs.fast or signs.has("lightning", "fast") else "/qwen-image-2512"


def _wan(signs: _Signs) -> str | None:
    if signs.has("wan2.2", "wan22", "wan_2.2"):
        return "/wan22-i2v"
    if not signs.has("wan2.6", "wan26", "wan_2.6", "wan2.1", "wan21", "wan_2.1"):
        return None
    if signs.has("r2v", "reference"):
        return "/wan2.6-r2v"
    if signs.has("i2v", "imagetovideo"):
        return "/wan2.6-i2v"
    return "/wan2.6-lora" if signs.styled else "/wan2.6"


def _z_image(signs: _Signs) -> str | None:
    if not signs.has("z_image_turbo", "z-image-turbo"):
        return None
    if signs.has("instantid"):
        return "/sdxl-instantid"  # what replaces it: InstantID never worked on Z-Image
    if signs.has("pulid"):
        return "/flux-pulid"  # likewise
    if signs.styled:
        return "/z-image-lora"
    return "/z-image-danrisi" if signs.has("clownsharksampler", "betasamplingscheduler", "sigmas rescale") else "/z-image-simple"


def _flux(signs: _Signs) -> str | None:
    """Models are looked for among model files; the rule that this replaces looked among classes and never found any."""
    if any(name in signs.models for name in ("flux1-dev", "flux_dev", "flux1_dev", "flux.1-dev")):
        if "ipadapter" in signs.kinds:
            return "/flux-ipadapter-faceid"
        if "pulid" in signs.kinds:
            return "/flux-pulid"
        return "/flux-dev-lora" if signs.styled else "/flux-dev"
    return "/flux" if "schnell" in signs.models else None


def _others(signs: _Signs) -> str | None:
    """InstantID by its node and an SDXL checkpoint: the rule that this replaces wanted both in one class name."""
    if "instantid" in signs.kinds and any(part in signs.models for part in ("sd_xl", "sdxl", "xl_", "xl-", "-xl")):
        return "/sdxl-instantid"
    return "/seedvr2" if signs.has("seedvr2") else None


def parameters(graph: Graph) -> dict[str, Any]:
    """What the graph asks for, by the names that endpoints know."""
    positive, negative = graph.prompts()
    canvas = ("empty", "latentimage", "latentvideo")
    sampler = ("sampler", "noise", "scheduler")
    pulid, instantid = ("applypulid", "pulidflux"), ("applyinstantid",)
    found: dict[str, Any] = {
        "prompt": positive,
        "negative_prompt": negative,
        "width": graph.first("width", *canvas, kind=_is_whole),
        "height": graph.first("height", *canvas, kind=_is_whole),
        "length": graph.first("length", *canvas, kind=_is_whole),
        "steps": graph.first("steps", *sampler, kind=_is_whole),
        "cfg": graph.first("cfg", "sampler", "guider"),
        "guidance": graph.first("guidance", "fluxguidance"),
        "seed": _first_of(graph.first("seed", "sampler", kind=_is_whole), graph.first("noise_seed", *sampler, kind=_is_whole)),
        "fps": graph.first("fps", "saveanimated", "createvideo"),
        "instantid_strength": _first_of(graph.first("weight", *instantid), graph.first("ip_weight", *instantid)),
        "controlnet_strength": _first_of(graph.first("controlnet_conditioning_scale", *instantid), graph.first("cn_strength", *instantid)),
        "pulid_weight": _first_of(graph.first("strength", *pulid), graph.first("weight", *pulid)),
        "start_at": _first_of(graph.first("start", *pulid), graph.first("start_at", *pulid)),
        "end_at": _first_of(graph.first("end", *pulid), graph.first("end_at", *pulid)),
        "ipadapter_strength": _first_of(graph.first("ip_scale", "ipadapter"), graph.first("strength_model", "ipadapter")),
        "sdxl_checkpoint": graph.first("ckpt_name", "checkpointloader"),
    }
    loras = [{"name": name.rpartition("/")[2], "strength": strength} for name, strength in _loras(graph) if "lightning" not in name.lower()]
    pictures = [inputs["image"] for inputs in graph.of_kind("loadimage") if isinstance(inputs.get("image"), str)]
    found |= {"loras": loras or None, "pictures": pictures or None}
    return {name: value for name, value in found.items() if value is not None}


def body_for(endpoint: Endpoint, found: Mapping[str, Any]) -> dict[str, Any]:
    """The request body of `endpoint` made of what the graph asks for; what the endpoint does not know is left out."""
    spellings = endpoint.request.spellings()
    body: dict[str, Any] = {spellings[name]: value for name, value in found.items() if name in spellings}
    pictures = list(found.get("pictures", ()))
    for name, field in endpoint.request.model_fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, dict) and "contentEncoding" in extra and pictures:
            body[name] = pictures.pop(0)
    return body


def _plan(request: WorkflowRequest, seed: int) -> Plan:
    from deployments import endpoints  # at the call: this file is one of those that it collects

    graph = Graph(request.workflow)
    path = meant_by(graph)
    endpoint = endpoints().get(path)
    if endpoint is None:
        raise BadRequest(f"workflow means {path}, which is not served here")
    found = parameters(graph) | ({"prompt": request.prompt} if request.prompt is not None else {})
    try:
        asked = endpoint.request.model_validate(body_for(endpoint, found))
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc'])) or 'request'}: {item['msg']}" for item in error.errors()[:5])
        raise BadRequest(f"workflow means {path}, which refuses what it asks for: {problems}") from None
    plan = endpoint.plan(asked, seed)
    plan.facts["endpoint"] = path
    return plan


def _loras(graph: Graph) -> list[tuple[str, float]]:
    """Names and strengths of the LoRAs that nodes load."""
    return [
        (inputs["lora_name"], float(inputs.get("strength_model", 1.0)))
        for inputs in graph.of_kind("lora")
        if isinstance(inputs.get("lora_name"), str) and isinstance(inputs.get("strength_model", 1.0), int | float)
    ]


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _first_of(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


ENDPOINTS = (
    Endpoint(
        path="/workflow",
        summary="A ComfyUI graph, answered by the endpoint that makes what it means.",
        deployments=(),
        request=WorkflowRequest,
        plan=_plan,
        input_type="text",
        output_type="image",
        capabilities=("text-to-image",),
        note="`X-Endpoint` says which endpoint answered. A graph that none of them means is 400 with what was found in it.",
        example={
            "workflow": {
                "1": {"class_type": "UNETLoader", "inputs": {"unet_name": "z_image_turbo_bf16.safetensors"}},
                "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a red fox in fresh snow"}},
                "3": {"class_type": "KSampler", "inputs": {"steps": 4, "cfg": 1, "seed": 7, "positive": ["2", 0], "model": ["1", 0]}},
            }
        },
    ),
)
