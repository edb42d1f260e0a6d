"""A reader for tests of the networks: features drawn from a generator, a different face for each picture."""

import numpy as np

from models.identity.face_input import FaceFeatures

KEYPOINTS = np.array([[40, 45], [80, 46], [60, 70], [45, 90], [76, 91]], np.float32)


def picture(person: int):
    """A picture of noise that stands for a person."""
    return np.random.default_rng(person).integers(0, 256, (128, 120, 3), np.uint8)


class SeededReader:
    name = "seeded"

    def read(self, image):
        drawn = np.random.default_rng(int(image[0, 0, 0]) * 256 + int(image[0, 0, 1]))
        embedding = drawn.standard_normal(512).astype(np.float32)
        return FaceFeatures(embedding, KEYPOINTS, np.array([30, 25, 90, 105], np.float32), image[:64, :64])
