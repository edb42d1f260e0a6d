"""Lays patches over frames."""

import cv2
import numpy as np

from models.faceswap.engine import Patch
from models.task import Image


def paste(frame: Image, patch: Patch) -> None:
    """Blend `patch` into `frame` in place; what reaches over the frame's edges is left out."""
    top, left = max(patch.top, 0), max(patch.left, 0)
    bottom = min(patch.top + patch.alpha.shape[0], frame.shape[0])
    right = min(patch.left + patch.alpha.shape[1], frame.shape[1])
    if bottom <= top or right <= left:
        return
    part = np.s_[top - patch.top : bottom - patch.top, left - patch.left : right - patch.left]
    alpha = np.ascontiguousarray(patch.alpha[part])
    under = np.ascontiguousarray(frame[top:bottom, left:right])
    frame[top:bottom, left:right] = cv2.blendLinear(np.ascontiguousarray(patch.pixels[part]), under, alpha, 1 - alpha)
