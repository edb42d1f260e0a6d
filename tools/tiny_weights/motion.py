"""Which way the camera moved in a clip, read from the pixels by dense optical flow."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.tiny_weights.camera import FULL_MOVE, PAN, TILT, ZOOM


@dataclass(frozen=True, slots=True)
class Seen:
    """How content moved since the first frame, at each instant (T,).

    Right and down in pixels, log scale, and how much more the right side grew.
    """

    right: NDArray[np.float64]
    down: NDArray[np.float64]
    scale: NDArray[np.float64]
    depth: NDArray[np.float64]


def watch(frames: NDArray[np.uint8], step: int = 4) -> Seen:
    """Fit a camera move to the flow from the first frame to every `step`-th of (T, H, W, 3)."""
    flow_of = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames[::step]]
    height, width = grey[0].shape
    rows: list[NDArray[np.float64]] = []
    flow: NDArray[np.float32] | None = None
    for later in grey[1:]:
        flow = flow_of.calc(grey[0], later, None if flow is None else flow.copy())
        rows.append(_fit(flow, grey[0], height, width))
    right, down, scale, depth = np.array(rows).T
    return Seen(right, down, scale, depth)


def _fit(flow: NDArray[np.float32], grey: NDArray[np.uint8], height: int, width: int) -> NDArray[np.float64]:
    """Slide right, slide down, log scale and depth of a flow field, by robust least squares where there is something to see."""
    y, x = (axis.ravel() for axis in np.mgrid[24 : height - 24 : 8, 24 : width - 24 : 8])
    texture = cv2.GaussianBlur(np.abs(cv2.Laplacian(grey, cv2.CV_32F)), (0, 0), 4)[y, x]
    u, v = flow[y, x].astype(np.float64).T
    px, py = (x - width / 2) / (width / 2), (y - height / 2) / (width / 2)
    one, nil = np.ones_like(px), np.zeros_like(px)
    # unknowns: slide right, slide down, scale, roll, depth
    table = np.concatenate((np.stack((one, nil, px, -py, px * px), 1), np.stack((nil, one, py, px, px * py), 1)))
    seen = np.concatenate((u, v))
    trust = np.concatenate((texture, texture)) > np.median(texture) * 0.5
    weight = trust.astype(np.float64)
    found = np.zeros(5)
    for _ in range(8):
        found = np.linalg.lstsq(table * weight[:, None], seen * weight, rcond=None)[0]
        weight = trust / (1 + (np.abs(table @ found - seen) / 2.0) ** 2)
    scale = found[2] / (width / 2)
    return np.array([found[0], found[1], np.log1p(max(scale, -0.9)), 2 * found[4] / (width / 2)])


def name(seen: Seen) -> str:
    """The move of `camera.MOVES` that explains the clip best; "drift" where a slow push in has a slide with it."""
    last = len(seen.right) - 1
    share = 4 * (last + 1) / FULL_MOVE
    right, down, scale, depth = (float(values[last]) for values in (seen.right, seen.down, seen.scale, seen.depth))
    path = float(np.hypot(np.diff(seen.right, prepend=0.0), np.diff(seen.down, prepend=0.0)).sum())
    if path > 12 and path > 1.6 * float(np.hypot(right, down)) and abs(scale) < 0.03:
        return "handheld"
    if max(abs(right), abs(down)) < 2 and abs(scale) < 0.01:
        return "still"
    if abs(depth) > 0.025 and abs(scale) < 0.04:
        return "orbit right" if depth > 0 else "orbit left"
    strength = {
        "zoom in": scale / ZOOM,
        "zoom out": -scale / ZOOM,
        "pan left": right / PAN,
        "pan right": -right / PAN,
        "tilt up": down / TILT,
        "tilt down": -down / TILT,
    }
    best = max(strength, key=lambda move: strength[move])
    return best if strength[best] > 0.2 * share else "none"
