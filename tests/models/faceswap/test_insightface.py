"""The whole engine through real insightface and onnxruntime code; the networks have random weights, so it paints noise, in the right place.

Random weights find no face in a photo, so where one must be found, the detector is `constant_scrfd`: it sees astronaut Collins's face
where it is in scikit-image's picture, whatever it is shown.
"""

import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import skimage.data
import torch

from models.errors import NoFaceFound, WeightsMissing
from models.faceswap.arc.align import similarity
from models.faceswap.arc.batching import with_batch
from models.faceswap.arc.inswapper import load_onnx, trial
from models.faceswap.arc.inswapper_torch import TorchSwapper
from models.faceswap.arc.region import cut, patches, soft_mask
from models.faceswap.arc.sessions import open_session
from models.faceswap.arc.tensors import TensorPainter
from models.faceswap.engine import Face, Patch
from models.faceswap.insightface import InsightFaceEngine
from models.faceswap.swapper import FaceSwapper
from models.runner import Call, Frames
from models.task import SwapFaces
from models.weights import Loading
from tests.models.faceswap import random_weights

POINTS = np.array([[196, 112], [247, 110], [223, 140], [203, 167], [246, 165]], np.float32)
BOX = (170, 60, 285, 205)
SCALE = 640 / 512  # of the picture in the detector's square


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return skimage.data.astronaut()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = random_weights.model_folder(tmp_path_factory.mktemp("insightface"), width=16)
    random_weights.constant_scrfd(folder / "det_10g.onnx", tuple(side * SCALE for side in BOX), POINTS * SCALE)
    random_weights.pin(folder)
    return folder


@pytest.fixture(scope="module")
def engine(folder: Path) -> InsightFaceEngine:
    return InsightFaceEngine(folder)


def paste(frame: np.ndarray, patch: Patch) -> np.ndarray:
    out = frame.astype(np.float32)
    part = out[patch.top : patch.top + patch.alpha.shape[0], patch.left : patch.left + patch.alpha.shape[1]]
    part += patch.alpha[..., None] * (patch.pixels - part)
    return (out + 0.5).astype(np.uint8)


def clip(picture: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The picture turning and growing, with the landmarks in each frame."""
    frames, landmarks = [], []
    for i in range(count):
        matrix = cv2.getRotationMatrix2D((223, 140), 9.0 * i, 1 + 0.1 * i)
        matrix[:, 2] += (7 * i, 4 * i)
        frames.append(cv2.warpAffine(picture, matrix, (640, 360)))
        landmarks.append(POINTS @ matrix[:, :2].T + matrix[:, 2])
    return np.stack(frames), np.stack(landmarks).astype(np.float32)


def face(landmarks: np.ndarray) -> Face:
    return Face(np.concatenate([landmarks.min(0) - 30, landmarks.max(0) + 30]).astype(np.float32), landmarks, 1.0)


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match=r"needs det_10g\.onnx, w600k_r50\.onnx, inswapper_128\.onnx"):
        InsightFaceEngine(tmp_path)


def test_says_which_swapper_runs(engine: InsightFaceEngine) -> None:
    assert engine.facts == {"inswapper": "onnxruntime"}
    assert (engine.detect_every, engine.batch) == (4, 1)


def test_finds_the_face(engine: InsightFaceEngine, picture: np.ndarray) -> None:
    ((found,),) = engine.detect(picture[None])
    np.testing.assert_allclose(found.landmarks, POINTS, atol=0.01)
    np.testing.assert_allclose(found.box, BOX, atol=0.01)
    assert found.score == pytest.approx(0.9)


def test_follows_a_found_face(engine: InsightFaceEngine, picture: np.ndarray) -> None:
    ((found,),) = engine.detect(picture[None])
    followed = engine.follow(np.roll(picture, (4, 6), axis=(0, 1)), found)
    assert followed is not None
    np.testing.assert_allclose(followed.landmarks, POINTS + np.array([6, 4]), atol=0.5)


def test_a_source_without_a_face(tmp_path: Path, picture: np.ndarray) -> None:
    folder = random_weights.model_folder(tmp_path, width=8)
    random_weights.scrfd(folder / "det_10g.onnx", width=14, stages=(1, 1, 1, 1), head=16, score=-9)
    random_weights.pin(folder)
    with pytest.raises(NoFaceFound, match="no face was found in the source picture"):
        InsightFaceEngine(folder).read_source(picture)


def test_a_source_is_read_once(engine: InsightFaceEngine, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    first = engine.read_source(picture)
    calls: list[int] = []
    embed = engine._arcface.embed
    monkeypatch.setattr(engine._arcface, "embed", lambda *given: calls.append(1) or embed(*given))
    assert engine.read_source(picture.copy()) is first
    assert not calls
    assert engine.read_source(picture[:, ::-1]) is not first
    assert len(calls) == 1


def test_identities_are_bounded(engine: InsightFaceEngine, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.faceswap.insightface._SOURCES", 2)
    for i in range(4):
        engine.read_source(np.roll(picture, i, axis=0))
    assert len(engine._identities) == 2


def test_an_identity_equals_insightfaces_embedding(engine: InsightFaceEngine, folder: Path, picture: np.ndarray) -> None:
    from insightface.app.common import Face as TheirFace
    from insightface.model_zoo import get_model

    recogniser = get_model(str(folder / "w600k_r50.onnx"), providers=["CPUExecutionProvider"])
    theirs = TheirFace(kps=POINTS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # scikit-image's, about a call inside insightface
        recogniser.get(np.ascontiguousarray(picture[..., ::-1]), theirs)
    assert float(engine.read_source(picture).embedding @ theirs.normed_embedding) > 0.9999


def test_paints_a_batch_as_it_paints_single_frames(engine: InsightFaceEngine, picture: np.ndarray) -> None:
    frames, landmarks = clip(picture, 5)
    source = engine.read_source(picture)
    together = engine.paint(frames, [face(five) for five in landmarks], source)
    assert len(together) == 5
    for frame, five, patch in zip(frames, landmarks, together, strict=True):
        (alone,) = engine.paint(frame[None], [face(five)], source)
        assert (patch.top, patch.left) == (alone.top, alone.left)
        np.testing.assert_allclose(patch.pixels, alone.pixels, atol=1)


def test_paints_over_the_face_and_nowhere_else(engine: InsightFaceEngine, picture: np.ndarray) -> None:
    frames, landmarks = clip(picture, 3)
    for frame, five, patch in zip(
        frames, landmarks, engine.paint(frames, [face(f) for f in landmarks], engine.read_source(picture)), strict=True
    ):
        changed = (paste(frame, patch) != frame).any(axis=2)
        crop = similarity(five[None], 128)[0]
        inside = cut(np.full_like(frame, 255), crop, 128)
        painted = cut(np.repeat(changed[..., None], 3, axis=2).astype(np.uint8) * 255, crop, 128)
        assert inside[20:108, 20:108].min() == 255
        assert painted[20:108, 20:108].mean() > 250
        corners = cv2.transform(np.array([[[0, 0], [127, 0], [127, 127], [0, 127]]], np.float64), cv2.invertAffineTransform(crop))[0]
        allowed = cv2.fillConvexPoly(np.zeros(changed.shape, np.uint8), corners.round().astype(np.int32), 1)
        assert not changed[cv2.dilate(allowed, np.ones((5, 5))) == 0].any()


@pytest.mark.parametrize("shift", [(-260, -60), (330, 150), (0, -170), (-5000, 0)])
def test_a_face_may_reach_outside_the_frame(engine: InsightFaceEngine, picture: np.ndarray, shift: tuple[int, int]) -> None:
    (patch,) = engine.paint(picture[None], [face(POINTS + np.array(shift, np.float32))], engine.read_source(picture))
    assert patch.alpha.shape == patch.pixels.shape[:2]
    assert patch.top >= 0
    assert patch.left >= 0
    assert patch.top + patch.alpha.shape[0] <= picture.shape[0]
    assert paste(picture, patch).shape == picture.shape


def test_no_faces_make_no_patches(engine: InsightFaceEngine, picture: np.ndarray) -> None:
    assert engine.paint(picture[None][:0], [], engine.read_source(picture)) == []


@pytest.mark.parametrize("index", [0, 1, 2])
def test_the_paste_matches_insightfaces(engine: InsightFaceEngine, folder: Path, picture: np.ndarray, index: int) -> None:
    """The same painted crop pasted by INSwapper.get and by us: equal in the middle, a like edge, and the same frame outside."""
    from insightface.app.common import Face as TheirFace
    from insightface.model_zoo.inswapper import INSwapper

    frames, landmarks = clip(picture, 3)
    frame = frames[index]
    swapper = INSwapper(str(folder / "inswapper_128.onnx"), open_session(folder / "inswapper_128.onnx", "cpu"))
    given = (
        np.ascontiguousarray(frame[..., ::-1]),
        TheirFace(kps=landmarks[index]),
        TheirFace(embedding=engine.read_source(picture).embedding),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        theirs = swapper.get(*given)[..., ::-1]
        fake, crop = swapper.get(*given, paste_back=False)
    (patch,) = patches(np.ascontiguousarray(fake[..., ::-1])[None], crop[None], *frame.shape[:2])
    difference = np.abs(paste(frame, patch).astype(int) - theirs).max(axis=2)
    alpha = np.full(difference.shape, -1.0)  # -1 outside the patch
    alpha[patch.top : patch.top + patch.alpha.shape[0], patch.left : patch.left + patch.alpha.shape[1]] = patch.alpha

    assert difference[alpha < 0].max() == 0
    assert difference[alpha == 0].max() <= 2
    # Their edge reaches further in the more a face is turned, since they erode along the frame's axes.
    middle = cv2.erode((alpha > 0.9999).astype(np.uint8), np.ones((31, 31)))
    assert middle.sum() > 2500
    assert difference[middle > 0].max() <= 1
    assert difference[alpha > 0].mean() < 10
    assert difference.max() < 120  # noise against a photo: a shift of the edge by a third of its width


def test_the_engine_paints_what_insightface_paints(engine: InsightFaceEngine, folder: Path, picture: np.ndarray) -> None:
    from insightface.app.common import Face as TheirFace
    from insightface.model_zoo.inswapper import INSwapper

    source = engine.read_source(picture)
    swapper = INSwapper(str(folder / "inswapper_128.onnx"), open_session(folder / "inswapper_128.onnx", "cpu"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        theirs = swapper.get(np.ascontiguousarray(picture[..., ::-1]), TheirFace(kps=POINTS), TheirFace(embedding=source.embedding))[
            ..., ::-1
        ]
    (patch,) = engine.paint(picture[None], [face(POINTS)], source)
    difference = np.abs(paste(picture, patch).astype(int) - theirs).max(axis=2)
    middle = np.zeros(difference.shape, bool)
    middle[patch.top : patch.top + patch.alpha.shape[0], patch.left : patch.left + patch.alpha.shape[1]] = patch.alpha > 0.9999
    assert difference[middle].max() <= 8  # crops that round differently, amplified by noise
    assert difference[middle].mean() < 1


def test_the_soft_mask_is_whole_in_the_middle_and_ends_within_the_crop() -> None:
    mask = soft_mask()
    assert mask[20:108, 20:108].min() > 0.999
    assert max(mask[0].max(), mask[:, 0].max(), mask[-1].max(), mask[:, -1].max()) < 0.01
    np.testing.assert_allclose(mask, mask.T)
    np.testing.assert_allclose(mask, mask[::-1], atol=1e-7)


def test_frames_may_be_read_only(engine: InsightFaceEngine, folder: Path, picture: np.ndarray) -> None:
    """As arrays out of Ray's object store are."""
    frames, landmarks = clip(picture, 2)
    frames.flags.writeable = False
    source = engine.read_source(frames[0])
    (found,), _ = engine.detect(frames)
    engine.follow(frames[1], found)
    swapper = TorchSwapper(with_batch(onnx.load(folder / "inswapper_128.onnx")), "cpu")
    assert len(engine.paint(frames, [face(five) for five in landmarks], source)) == 2
    assert len(TensorPainter(swapper).patches(frames, landmarks, source.latent)) == 2


def test_threads_do_not_disturb_each_other(engine: InsightFaceEngine, picture: np.ndarray) -> None:
    frames, landmarks = clip(picture, 4)
    source = engine.read_source(picture)
    wanted = [engine.paint(frames[i : i + 1], [face(landmarks[i])], source)[0] for i in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: engine.paint(frames[i % 4][None], [face(landmarks[i % 4])], source)[0], range(12)))
    for i, patch in enumerate(found):
        np.testing.assert_array_equal(patch.pixels, wanted[i % 4].pixels)


def test_tensors_paint_what_the_host_paints(engine: InsightFaceEngine, folder: Path, picture: np.ndarray) -> None:
    swapper = TorchSwapper(with_batch(onnx.load(folder / "inswapper_128.onnx")), "cpu")
    painter = TensorPainter(swapper)
    frames, landmarks = clip(picture, 3)
    landmarks[2] += (250, 60)  # partly outside the frame
    source = engine.read_source(picture)
    host = engine.paint(frames, [face(five) for five in landmarks], source)
    for a, b in zip(painter.patches(frames, landmarks, source.latent), host, strict=True):
        assert (a.top, a.left, a.pixels.shape) == (b.top, b.left, b.pixels.shape)
        np.testing.assert_allclose(a.alpha, b.alpha, atol=0.01)
        assert np.abs(a.pixels.astype(int) - b.pixels).mean() < 1
        assert np.abs(a.pixels.astype(int) - b.pixels).max() <= 12  # the two crops round differently, and noise amplifies it

    stay = torch.from_numpy(frames.copy())
    painter.swap(stay, landmarks, torch.from_numpy(source.latent))
    pasted = np.stack([paste(frame, patch) for frame, patch in zip(frames, host, strict=True)])
    difference = np.abs(stay.numpy().astype(int) - pasted)
    assert difference.max() <= 12
    assert difference.mean() < 0.5


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_paints_what_the_cpu_paints(engine: InsightFaceEngine, folder: Path, picture: np.ndarray) -> None:
    on_gpu = InsightFaceEngine(folder, "cuda")
    assert on_gpu.facts == {"inswapper": "torch float16, CUDA graphs"}
    frames, landmarks = clip(picture, 5)
    faces = [face(five) for five in landmarks]
    source = engine.read_source(picture)
    for a, b in zip(on_gpu.paint(frames, faces, source), engine.paint(frames, faces, source), strict=True):
        assert (a.top, a.left, a.pixels.shape) == (b.top, b.left, b.pixels.shape)
        assert np.abs(a.pixels.astype(int) - b.pixels).mean() < 2
        np.testing.assert_allclose(a.alpha, b.alpha, atol=0.01)


def test_the_swapper_uses_the_engine(folder: Path, picture: np.ndarray) -> None:
    """The path that a request takes: frames in, frames with the face painted over out."""
    swapper = FaceSwapper(Loading({"insightface": folder}))
    still = Frames(np.stack([picture] * 6), np.arange(6) / 25)
    call = Call()
    out = np.concatenate([part.pixels for part in swapper.transform(SwapFaces(source=picture), iter([still]), call)])
    swapper.close()
    assert call.facts["engine"] == "insightface"
    assert call.facts["faces_swapped"] == 6
    assert (out[:, 100:160, 190:250] != picture[100:160, 190:250]).mean() > 0.9
    np.testing.assert_array_equal(out[:, 300:], still.pixels[:, 300:])


@pytest.mark.slow
def test_the_published_architecture(tmp_path: Path, picture: np.ndarray) -> None:
    """inswapper_128 and SCRFD-10G at full width: the sizes of the published files within 0.05 %, and a face painted through them."""
    folder = random_weights.model_folder(tmp_path, width=8)
    random_weights.scrfd(folder / "det_10g.onnx")
    assert (folder / "det_10g.onnx").stat().st_size == pytest.approx(16_923_827, rel=5e-4)
    random_weights.constant_scrfd(folder / "det_10g.onnx", tuple(side * SCALE for side in BOX), POINTS * SCALE)
    random_weights.inswapper(folder / "inswapper_128.onnx")
    assert (folder / "inswapper_128.onnx").stat().st_size == pytest.approx(554_253_681, rel=5e-4)
    random_weights.pin(folder)
    engine = InsightFaceEngine(folder)
    ((found,),) = engine.detect(picture[None])
    source = engine.read_source(picture)
    alone = engine.paint(picture[None], [found], source)
    assert (paste(picture, alone[0]) != picture).any()
    del engine

    path = folder / "inswapper_128.onnx"
    many = load_onnx(path, with_batch(onnx.load(path)), "cpu", batch=2)  # runs its own check of two faces against one
    assert many.name == "onnxruntime, batch 2"
    crops, latents = trial(1)
    torch_form = TorchSwapper(with_batch(onnx.load(path)), "cpu")
    np.testing.assert_allclose(torch_form.run(crops, latents), many.run(crops, latents), atol=1e-4)
