"""What the present system's published records say of each endpoint, and the mix of traffic that is assumed of them.

Seconds are warm service times on the card named, from the records of 2026-02 (1024×1024 pictures, 832×480×33 clips); where only a cold
end-to-end time was published, the cold start of a sister endpoint on the same app is taken off. The mix is an assumption of ours: no
traffic was ever published. `--trace` replaces it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from deployments import endpoints
from modal_burst.pools import pool


@dataclass(frozen=True, slots=True)
class Published:
    """One endpoint: share of the calls, warm seconds of each stage, and what a cold start of its app added."""

    path: str
    share: float
    seconds: tuple[float, ...]
    cold_s: float
    card: str = "L40S"


PUBLISHED: Final = (
    Published("/flux", 0.04, (2.9,), 55.8),
    Published("/flux-dev", 0.16, (20.2,), 52.5),
    Published("/flux-dev-lora", 0.14, (22.0,), 52.5),
    Published("/flux-dev-realism", 0.03, (20.2,), 52.5),
    Published("/flux-pulid", 0.06, (13.2,), 62.6),
    Published("/flux-ipadapter-faceid", 0.01, (20.2,), 62.6),
    Published("/sdxl-instantid", 0.05, (8.9,), 15.9),
    Published("/qwen-image-2512", 0.03, (49.9,), 58.3),
    Published("/qwen-image-2512-fast", 0.07, (4.7,), 31.2),
    Published("/qwen-image-2512-lora", 0.02, (49.9,), 58.3),
    Published("/qwen-image-edit-2511", 0.03, (53.6,), 101.1),
    Published("/qwen-image-inpaint-2511", 0.01, (52.9,), 14.4),
    Published("/z-image-simple", 0.12, (3.6,), 60.5),
    Published("/z-image-danrisi", 0.10, (2.3,), 60.5),
    Published("/z-image-lora", 0.02, (3.6,), 60.5),
    Published("/image-faceswap", 0.02, (10.0,), 60.0),
    Published("/seedvr2", 0.01, (38.1,), 133.3),
    Published("/wan2.6", 0.02, (35.0,), 35.2),
    Published("/wan2.6-lora", 0.01, (47.0,), 35.2),
    Published("/wan2.6-i2v", 0.02, (35.0,), 35.2),
    Published("/wan2.6-i2v-faceswap", 0.02, (35.0, 125.0), 95.2),
    Published("/wan22-i2v", 0.005, (240.0,), 150.0, "A100-80GB"),
    Published("/wan22-i2v-faceswap", 0.005, (240.0, 185.0), 210.0, "A100-80GB"),
)


def known(paths: Sequence[str], shares: Sequence[float], measured: Mapping[str, tuple[float, ...]]) -> list[Published]:
    """Records of these endpoints, with measured seconds where there are some. Raises SystemExit that names an endpoint without either."""
    published = {found.path: found for found in PUBLISHED}
    found = list[Published]()
    for path, share in zip(paths, shares, strict=True):
        record = published.get(path)
        if path in measured:
            cold_s = record.cold_s if record else pool(endpoints()[path].deployments).cold_start_s
            record = Published(path, share, measured[path], cold_s)
        if record is None:
            raise SystemExit(f"nothing was published of {path}: give its seconds in the trace's column work_s")
        found.append(replace(record, share=share))
    return found
