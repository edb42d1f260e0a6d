"""Faces on SDXL: InstantID beside every checkpoint, and the view of a checkpoint's pipeline that one run goes through."""

from collections.abc import Sequence
from typing import Any

from models.denoise import dtype_on
from models.errors import BadRequest, WeightsMissing
from models.identity.checks import check_face
from models.identity.face_input import FaceFeatures, FaceReader, Remembering
from models.identity.instantid import InstantId
from models.identity.readers import reader_for
from models.runner import Call
from models.task import FaceToImage, TextToImage
from models.weights import Loading


class Faces:
    """InstantID, if `loading` has its weights. Roles: "instantid", and "antelopev2" for the reader; both may be absent."""

    def __init__(self, loading: Loading, reader: FaceReader | None = None) -> None:
        folder = loading.files.get("instantid")
        self.reader = Remembering(reader or reader_for(loading))
        self.instantid = InstantId(folder, loading.device, dtype_on(loading.device, "float16")) if folder is not None else None

    def fit(self, pipe: Any) -> None:
        """Let a freshly loaded checkpoint attend to faces."""
        if self.instantid is not None:
            self.instantid.fit(pipe)

    def view(self, pipe: Any, scheduler: Any, tasks: Sequence[TextToImage], calls: Sequence[Call]) -> tuple[Any, dict[str, Any]]:
        """A pipeline for one run that shares the modules of `pipe`, and its arguments. A view costs a millisecond and no memory."""
        from models.sdxl.pipeline import FaceControlPipeline, FacePipeline

        parts = pipe.components | {"scheduler": scheduler, "add_watermarker": False}
        guided = tasks[0].guidance > 1
        faced = [task for task in tasks if isinstance(task, FaceToImage)]
        if not faced:
            view: Any = FacePipeline(**parts)
            arguments = self.instantid.no_face(view, len(tasks), guided) if self.instantid is not None else {}
        else:
            instantid = self._instantid(faced[0])
            view = FaceControlPipeline(**parts, controlnet=instantid.controlnet)
            arguments = instantid.arguments(view, faced, [self.read(task, call) for task, call in zip(faced, calls, strict=True)], guided)
        view.set_progress_bar_config(disable=True)
        return view, arguments

    def _instantid(self, task: FaceToImage) -> InstantId:
        if task.method != "instantid":
            raise BadRequest(f"SDXL takes faces by instantid; {task.method} belongs to Flux")
        if self.instantid is None:
            raise WeightsMissing("the weights of instantid are not installed for this model")
        return self.instantid

    def read(self, task: FaceToImage, call: Call) -> FaceFeatures:
        """The face of one task. Raises NoFaceFound, or BadRequest for its settings."""
        check_face(task)
        call.facts["face_embedding"] = self.reader.name
        return self.reader.read(task.face)
