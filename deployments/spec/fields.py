"""Field types that requests share: each carries its limits and its description into OpenAPI and the CLI."""

from typing import Annotated, Literal

from pydantic import Field

MAX_SEED = 2**53 - 1  # the largest integer that JSON clients in JavaScript keep exact

Prompt = Annotated[str, Field(min_length=1, max_length=10_000, description="What to make, in words.")]
NegativePrompt = Annotated[
    str | None, Field(max_length=10_000, description="What to avoid, in words. Not given or empty: the model's own default.")
]
Seed = Annotated[
    int | None,
    Field(ge=0, le=MAX_SEED, description="Same seed, same pixels. Not given: drawn at random. The seed used comes back in `X-Seed`."),
]
Side = Annotated[int, Field(ge=128, le=2048, multiple_of=16, description="Pixels, a multiple of 16.")]
Steps = Annotated[int, Field(ge=1, le=100, description="Denoising steps: more is slower and finer.")]
Guidance = Annotated[float, Field(ge=0, le=30, description="How strictly to follow the prompt (classifier-free guidance scale).")]
FrameCount = Annotated[
    int,
    Field(
        ge=1,
        le=257,
        description="Frames in the clip; the model makes 4k+1, so the number is rounded down to that. `X-Frames` says how many.",
    ),
]
Fps = Annotated[float, Field(ge=1, le=60, description="Frames a second.")]
RestoreFace = Annotated[
    bool | None,
    Field(description="Run the face restorer. Not given: when one is installed, and `X-Restored` says which; true: needed; false: never."),
]
RequireFace = Annotated[bool, Field(description="Answer 400 instead of the unchanged media when no face is found in it.")]
VideoFormat = Literal["webp", "mp4"]
FIT_DESCRIPTION = "How the picture meets the clip's shape: contain (borders), cover (centre crop), smart (a crop around the face)."
ImageFormat = Literal["png", "jpeg", "webp"]
Picture = Annotated[
    str,
    Field(
        description="A picture as data URL or base64: PNG, JPEG or WebP, at most 25 megapixels.",
        json_schema_extra={"contentEncoding": "base64", "contentMediaType": "image/*"},
    ),
]
Clip = Annotated[
    str,
    Field(
        description="A clip as data URL or base64: MP4, WebM, MOV, animated WebP or GIF.",
        json_schema_extra={"contentEncoding": "base64", "contentMediaType": "video/*"},
    ),
]


def whole_frames(count: int) -> int:
    """The largest 4k+1 that is at most `count`: what a causal video VAE with fourfold time compression can make."""
    return 4 * ((count - 1) // 4) + 1
