"""The faces a place knows: personas that the platform made, and people whose face is not swapped. Embeddings are kept, never pictures.

    python -m models.faceswap.safety.gallery add persona anna anna.jpg
    python -m models.faceswap.safety.gallery add blocked "case 4711" picture.jpg
    python -m models.faceswap.safety.gallery remove blocked "case 4711"
    python -m models.faceswap.safety.gallery list

The file is `RYLA_FACE_GALLERY`, `var/faces/gallery.json` by default; replicas see a change at their next call.
"""

import argparse
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from models.errors import NotConfigured
from models.faceswap.recogniser import SAME_PERSON

Kind: TypeAlias = Literal["persona", "blocked"]
Embedding: TypeAlias = NDArray[np.float32]  # (128,), of the bundled recogniser


@dataclass(frozen=True, slots=True)
class Gallery:
    """Embeddings by name, several a name."""

    persona: Mapping[str, tuple[Embedding, ...]] = field(default_factory=dict[str, tuple[Embedding, ...]])
    blocked: Mapping[str, tuple[Embedding, ...]] = field(default_factory=dict[str, tuple[Embedding, ...]])

    def is_blocked(self, face: Embedding) -> bool:
        """Whether `face` is that of anybody who is blocked."""
        return any(_nearest(face, faces) < SAME_PERSON for faces in self.blocked.values())

    def is_persona(self, name: str, face: Embedding) -> bool:
        """Whether `face` is that of the persona `name`; no unknown name has a face."""
        return _nearest(face, self.persona.get(name, ())) < SAME_PERSON


def _nearest(face: Embedding, faces: tuple[Embedding, ...]) -> float:
    return min((float(np.linalg.norm(face - known)) for known in faces), default=float("inf"))


def read_gallery(path: Path | None) -> Gallery:
    """The gallery in a file; empty when there is none. Raises NotConfigured for one that cannot be read: nobody is let through unseen."""
    if path is None or not path.exists():
        return Gallery()
    try:
        stored = json.loads(path.read_text())
        kinds = {
            kind: {name: tuple(np.asarray(face, np.float32).reshape(128) for face in faces) for name, faces in stored.get(kind, {}).items()}
            for kind in ("persona", "blocked")
        }
    except (ValueError, AttributeError, TypeError) as error:
        raise NotConfigured(f"the face gallery {path.name} cannot be read ({error}); restore it, or set RYLA_FACE_GALLERY") from error
    return Gallery(kinds["persona"], kinds["blocked"])


class GalleryFile:
    """A gallery that is read again when its file changes. Thread-safe: a reader sees the old one or the new."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._read: tuple[int, Gallery] | None = None

    def current(self) -> Gallery:
        """The gallery as it is now."""
        stamp = self._path.stat().st_mtime_ns if self._path is not None and self._path.exists() else 0
        if self._read is None or self._read[0] != stamp:
            self._read = (stamp, read_gallery(self._path))
        return self._read[1]


def add(path: Path, kind: Kind, name: str, face: Embedding) -> None:
    """Register one more face under `name`."""
    _change(path, kind, lambda faces: faces.setdefault(name, []).append([round(float(value), 5) for value in face]))


def remove(path: Path, kind: Kind, name: str) -> None:
    """Forget `name`."""
    _change(path, kind, lambda faces: faces.pop(name, None))


def _change(path: Path, kind: Kind, edit: object) -> None:
    stored = json.loads(path.read_text()) if path.exists() else {}
    assert callable(edit)
    edit(stored.setdefault(kind, {}))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(stored))
    partial.replace(path)  # a reader never sees half of it


def main() -> None:
    """`add`, `remove` or `list`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("act", choices=("add", "remove", "list"))
    parser.add_argument("kind", choices=("persona", "blocked"), nargs="?")
    parser.add_argument("name", nargs="?")
    parser.add_argument("picture", type=Path, nargs="?")
    given = parser.parse_args()
    path = Path(os.environ.get("RYLA_FACE_GALLERY", "var/faces/gallery.json"))
    if given.act == "list":
        gallery = read_gallery(path)
        for kind, faces in (("persona", gallery.persona), ("blocked", gallery.blocked)):
            for name, known in faces.items():
                print(f"{kind:8} {name} ({len(known)} pictures)")
    elif given.name is None or (given.act == "add" and given.picture is None):
        parser.error("give a kind, a name and, to add, a picture")
    elif given.act == "remove":
        remove(path, given.kind, given.name)
    else:
        add(path, given.kind, given.name, _embedding(given.picture))


def _embedding(picture: Path) -> Embedding:
    from models.faceswap.embedded import EmbeddedEngine
    from models.media import Limits, read_image

    return EmbeddedEngine().recognise(read_image(picture.read_bytes(), picture.name, Limits()))


if __name__ == "__main__":
    main()
