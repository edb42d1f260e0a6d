"""Calls every endpoint of a running server and prints what came back: `python -m benchmarks.endpoints [--url …] [--whole] [NAME…]`.

By default pictures and clips are asked for small and in few steps, so that a laptop gets through in minutes; `--whole` asks for the
endpoints' own defaults. Exit status 1 when an endpoint answered what it should not.
"""

import argparse
import os
import sys
import time
from typing import Any

import httpx
import numpy as np
from safetensors.numpy import save

from deployments import answered, retired
from deployments.spec.endpoint import Endpoint
from models.media import Encoding, as_data_url, encode, sniff
from models.runner import Frames
from serve.samples import sample

SMALL = {"width": 256, "height": 256, "steps": 4, "length": 5, "num_frames": 5}
# A layer of each toy model and its width, for a LoRA to act on.
TOY_LAYERS = {
    "flux-dev": ("transformer_blocks.0.attn.to_q", 32),
    "qwen-image-2512": ("transformer_blocks.0.attn.to_q", 32),
    "z-image": ("layers.0.attention.to_q", 32),
    "wan-t2v": ("blocks.0.attn1.to_q", 96),
    "wan-a14b": ("blocks.0.attn1.to_q", 16),
}
ONE_OF_SEVERAL = {"/wan2.6-r2v": "reference_images"}  # optional media, of which an endpoint wants one all the same
EXPECTED = {"/flux2-pro": 501}  # what an endpoint answers that is declared and not set up


def main() -> int:
    """Print the table; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="endpoints without their slash; none means all")
    parser.add_argument("--url", default=os.environ.get("RYLA_URL", "http://127.0.0.1:8000"))
    parser.add_argument("--api-key", default=os.environ.get("RYLA_API_KEY"))
    parser.add_argument("--whole", action="store_true", help="ask for the endpoints' own defaults")
    options = parser.parse_args()
    headers = {"Authorization": f"Bearer {options.api_key}"} if options.api_key else {}
    client = httpx.Client(base_url=options.url, headers=headers, timeout=1200)
    entries = client.get("/models").raise_for_status().json()["models"]
    served = {entry["path"] for entry in entries}
    if entries[0]["profile"] == "tiny":
        bring_loras(client, {entry["deployments"][0] for entry in entries if entry["supportsLoRA"]})
    wrong = 0
    print("| endpoint | status | media type | bytes | seconds | model | remarks |\n|---|---|---|---|---|---|---|", flush=True)
    for path, endpoint in answered(serve_retired=True).items():
        if path in served and (not options.names or endpoint.name in options.names):
            wrong += not row(path, *timed(client, path, body(endpoint, whole=options.whole)), EXPECTED.get(path, 200))
    for path in retired():
        if path not in served and not options.names:
            wrong += not row(path, *timed(client, path, {}), 410)
    return 1 if wrong else 0


def bring_loras(client: httpx.Client, bases: set[str]) -> None:
    """A toy LoRA for each base, under the name that the examples use."""
    for base in sorted(bases & TOY_LAYERS.keys()):
        layer, width = TOY_LAYERS[base]
        numbers = np.random.default_rng(0).standard_normal((2, 4 * width)).astype(np.float32) / 2
        tensors = {f"transformer.{layer}.lora_A.weight": numbers[0].reshape(4, width)}
        tensors |= {f"transformer.{layer}.lora_B.weight": numbers[1].reshape(width, 4)}
        reply = client.post("/loras", params={"name": f"bench-{base}", "base": base}, content=save(tensors))
        if reply.status_code not in (200, 201):
            print(f"LoRA for {base}: {reply.json()['error']}", file=sys.stderr)


def timed(client: httpx.Client, path: str, request: dict[str, Any]) -> tuple[httpx.Response, float]:
    """The reply and the seconds it took."""
    began = time.perf_counter()
    return client.post(path, json=request), time.perf_counter() - began


def row(path: str, reply: httpx.Response, seconds: float, expected: int) -> bool:
    """Print one row; whether the reply is what it should be: status, true media type, cost and model headers."""
    kind = reply.headers.get("content-type", "").partition(";")[0]
    good = reply.status_code == expected
    remarks = ""
    if reply.status_code == 200:
        facts = {name: value for name, value in reply.headers.items() if name.startswith("x-")}
        good = good and sniff(reply.content) == kind and float(facts["x-cost-usd"]) >= 0 and "x-seed" in facts
        shown = ("x-steps", "x-lora", "x-style", "x-endpoint", "x-faces-swapped", "x-face-embedding", "x-inpaint-method", "x-frames")
        remarks = ", ".join(f"{name[2:]} {facts[name]}" for name in shown if name in facts)
    else:
        remarks = str(reply.json().get("error", ""))[:90]
    model = reply.headers.get("x-model", "")
    print(f"| {path} | {reply.status_code} | {kind} | {len(reply.content):,} | {seconds:.1f} | {model} | {remarks} |", flush=True)
    return good


def body(endpoint: Endpoint, *, whole: bool) -> dict[str, Any]:
    """The endpoint's example, with a picture or a clip where one is needed, small unless `whole`."""
    schema = endpoint.request.model_json_schema(by_alias=False)["properties"]
    needed = {name: media(field) for name, field in schema.items() if endpoint.request.model_fields[name].is_required()}
    if endpoint.path in ONE_OF_SEVERAL:
        needed[ONE_OF_SEVERAL[endpoint.path]] = media(schema[ONE_OF_SEVERAL[endpoint.path]])
    asked = {name: value for name, value in needed.items() if value is not None} | endpoint.example
    if endpoint.lora:
        asked["lora_name"] = f"bench-{endpoint.deployments[0]}"
    if whole:
        return asked
    asked.pop("aspect_ratio", None)
    for name, value in SMALL.items():
        if name in schema:
            most = schema[name].get("maximum", value)
            asked[name] = max(min(value, most), schema[name].get("minimum", value))
    return asked


def media(field: dict[str, Any]) -> Any:
    """A sample for a media field; None for other fields."""
    if field.get("type") == "array":
        item = media(field["items"])
        return None if item is None else [item]
    kind = field.get("contentMediaType")
    content = {"image/*": lambda: ("image/png", sample("astronaut")), "video/*": lambda: ("video/mp4", clip())}.get(kind)
    if content is None:
        return None
    media_type, data = content()
    return as_data_url(data, media_type)


def clip() -> bytes:
    """A second of a grey square that brightens."""
    frames = Frames(np.stack([np.full((128, 128, 3), 40 + 20 * i, np.uint8) for i in range(8)]), np.arange(8) / 8)
    return encode(iter([frames]), Encoding(format="mp4"))


if __name__ == "__main__":
    sys.exit(main())
