"""Faces on a resident Flux: XLabs' IP-Adapter and PuLID, put on for one run at a time."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

from models.denoise import StepHook
from models.errors import BadRequest, WeightsMissing
from models.identity.checks import check_face
from models.identity.face_input import FaceFeatures, FaceReader, Remembering
from models.identity.ip_adapter import IpAdapter
from models.identity.portrait import FaceMask
from models.identity.pulid import Pulid
from models.identity.readers import reader_for
from models.runner import Call
from models.task import FaceToImage, TextToImage
from models.weights import Loading


class Faces:
    """The identity modules that `loading` has weights for, hung on `pipe` in the one order that works: adapter, then hooks.

    Roles: "ip_adapter" with "clip_vision", "pulid" with "eva_clip" and better with "face_parsing", "antelopev2" for the reader; all may
    be absent.
    """

    def __init__(self, pipe: Any, loading: Loading, reader: FaceReader | None = None) -> None:
        files = loading.files
        self.reader = Remembering(reader or reader_for(loading))
        self.ip_adapter = (
            IpAdapter(pipe, files["ip_adapter"], files["clip_vision"]) if {"ip_adapter", "clip_vision"} <= files.keys() else None
        )
        self.pulid = _pulid(pipe.transformer, loading) if {"pulid", "eva_clip"} <= files.keys() else None

    @contextmanager
    def wearing(self, tasks: Sequence[TextToImage], calls: Sequence[Call]) -> Generator[tuple[dict[str, Any], StepHook | None]]:
        """Arguments for the pipeline and what to call after each step, good for the runs inside; without faces, the plain model."""
        plain = self.ip_adapter.no_face(len(tasks)) if self.ip_adapter is not None else {}
        faced = [task for task in tasks if isinstance(task, FaceToImage)]
        if not faced:
            yield plain, None
            return
        match faced[0].method:
            case "ip_adapter" if self.ip_adapter is not None:
                faces = [self.read(task, call) for task, call in zip(faced, calls, strict=True)]
                yield self.ip_adapter.arguments([face.crop for face in faces], [task.strength for task in faced]), None
            case "pulid" if self.pulid is not None:
                faces = [self.read(task, call) for task, call in zip(faced, calls, strict=True)]
                for call in calls:
                    call.facts["face_mask"] = self.pulid.mask.name
                with self.pulid.wearing(faced, faces) as on_step:
                    yield plain, on_step
            case "instantid":
                raise BadRequest("Flux takes faces by pulid or ip_adapter; InstantID belongs to SDXL")
            case method:
                raise WeightsMissing(f"the weights of {method} are not installed for this model")

    def read(self, task: FaceToImage, call: Call) -> FaceFeatures:
        """The face of one task. Raises NoFaceFound, or BadRequest for its settings."""
        check_face(task)
        call.facts["face_embedding"] = self.reader.name
        return self.reader.read(task.face)


def _pulid(transformer: Any, loading: Loading) -> Pulid:
    mask: FaceMask | None = None
    if "face_parsing" in loading.files:
        from models.identity.parsing import ParsedMask

        mask = ParsedMask(loading.files["face_parsing"], loading.device)
    return Pulid(transformer, loading.files["pulid"], loading.files["eva_clip"], mask)
