import cv2
import numpy as np
import pytest

from models.faceswap.recogniser import SAME_PERSON


@pytest.fixture(scope="module")
def known(engine, astronaut):
    return engine.recognise(astronaut)


@pytest.mark.parametrize("change", ["mirrored", "turned", "smaller", "darker", "compressed"])
def test_a_person_stays_the_same(engine, astronaut, known, change):
    height, width = astronaut.shape[:2]
    picture = {
        "mirrored": lambda: astronaut[:, ::-1],
        "turned": lambda: cv2.warpAffine(astronaut, cv2.getRotationMatrix2D((225, 130), 25, 1.0), (width, height)),
        "smaller": lambda: cv2.resize(astronaut, (width // 2, height // 2), interpolation=cv2.INTER_AREA),
        "darker": lambda: (astronaut * 0.6).astype(np.uint8),
        "compressed": lambda: cv2.imdecode(cv2.imencode(".jpg", astronaut, [cv2.IMWRITE_JPEG_QUALITY, 30])[1], cv2.IMREAD_COLOR),
    }[change]()
    assert np.linalg.norm(engine.recognise(np.ascontiguousarray(picture)) - known) < SAME_PERSON


def test_other_people_are_others(engine, crowd, known):
    faces = engine.detect(crowd[None])[0]
    embeddings = engine.embed(np.broadcast_to(crowd, (len(faces), *crowd.shape)), faces)
    assert embeddings.shape == (len(faces), 128)
    assert min(np.linalg.norm(embedding - known) for embedding in embeddings) > SAME_PERSON
    between = [np.linalg.norm(a - b) for i, a in enumerate(embeddings) for b in embeddings[:i]]
    assert min(between) > 0.9 * SAME_PERSON
    assert np.median(between) > 1.2 * SAME_PERSON


def test_a_batch_equals_its_singles(engine, crowd):
    faces = engine.detect(crowd[None])[0][:3]
    together = engine.embed(np.broadcast_to(crowd, (3, *crowd.shape)), faces)
    alone = np.concatenate([engine.embed(crowd[None], [face]) for face in faces])
    np.testing.assert_allclose(together, alone, atol=1e-4)
