"""Stands before a face swap: checks its sources once and its target while it passes."""

import logging
from collections.abc import Iterator

from models.errors import Refused, WeightsMissing
from models.faceswap.embedded import EmbeddedEngine
from models.faceswap.safety.gallery import Gallery, GalleryFile
from models.faceswap.safety.gates import NOT_INSTALLED, Gate, minor_gate, nsfw_gate
from models.runner import Call, Frames
from models.safety import GateMode, SafetyRules
from models.task import SourceFace, SwapFaces

log = logging.getLogger("ryla.safety")

LOOK_EVERY_S = 1.0  # of a clip


class Guard:
    """The rules of one place, with what they need loaded. Thread-safe."""

    def __init__(self, rules: SafetyRules, faces: EmbeddedEngine, nsfw: Gate | None = None, minors: Gate | None = None) -> None:
        """nsfw, minors: gates to use instead of the installed ones."""
        self._rules = rules
        self._faces = faces
        self._gallery = GalleryFile(rules.gallery)
        self._missing: WeightsMissing | None = None
        try:
            self._nsfw = nsfw if nsfw is not None or rules.nsfw == "off" else nsfw_gate(rules.nsfw)
            self._minors = minors if minors is not None or rules.minors == "off" else minor_gate(rules.minors)
        except WeightsMissing as error:
            self._missing, self._nsfw, self._minors = error, None, None
            log.error("face swaps are refused: %s", error.message)
        for name, mode, gate in (("NSFW", rules.nsfw, self._nsfw), ("minor", rules.minors, self._minors)):
            if mode == "auto" and gate is None:
                log.warning("the %s gate's weights are not installed: face swaps are not checked by it", name)

    def admit(self, task: SwapFaces, call: Call) -> bool:
        """Check the sources; returns whether the target must be watched. Facts: "nsfw_gate", "minor_gate".

        Raises Refused for a blocked face, a false persona or a minor, and WeightsMissing where a required gate is not installed.
        """
        if self._missing is not None:
            raise self._missing
        gallery = self._gallery.current()
        verified = [self._admit(source, row, gallery) for row, source in enumerate(task.sources)]
        call.facts["nsfw_gate"] = "persona" if all(verified) else _state(self._rules.nsfw, self._nsfw)
        call.facts["minor_gate"] = _state(self._rules.minors, self._minors)
        return self._nsfw is not None and not all(verified)

    def watch(self, frames: Iterator[Frames], call: Call) -> Iterator[Frames]:
        """The target's frames as they come, one a second looked at. Raises Refused for one that is not safe for work.

        Only platform personas may be put there: a real person's photo on such a target is the harm that face swaps are known for.
        """
        assert self._nsfw is not None
        due = 0.0
        for part in frames:
            for pixels, time_s in zip(part.pixels, part.times_s, strict=True):
                if time_s >= due:
                    due = float(time_s) + LOOK_EVERY_S
                    call.check()
                    if self._nsfw.score(pixels) >= self._nsfw.threshold:
                        raise Refused(
                            "the target is not safe for work, and only registered platform personas are put on such targets; "
                            "name the persona in consent.persona, or send another target",
                            "nsfw",
                        )
            yield part

    def _admit(self, source: SourceFace, row: int, gallery: Gallery) -> bool:
        """Whether a source is a registered persona."""
        which = "the source face" if row == 0 else f"the source face of more_faces.{row - 1}"
        if not (gallery.blocked or source.persona or self._minors):
            return False
        face = self._faces.recognise(source.image)
        if gallery.is_blocked(face):
            raise Refused(f"{which} is on this server's list of faces that are not swapped", "blocklist")
        if self._minors is not None and self._minors.score(source.image) >= self._minors.threshold:
            raise Refused(f"{which} seems to be that of a minor, which is never swapped", "minor")
        if source.persona is None:
            return False
        if not gallery.is_persona(source.persona, face):
            raise Refused(
                f"{which} is not the registered face of the persona {source.persona!r}; register it, or leave persona out", "persona"
            )
        return True


def _state(mode: GateMode, gate: Gate | None) -> str:
    return "off" if mode == "off" else "passed" if gate is not None else NOT_INSTALLED
