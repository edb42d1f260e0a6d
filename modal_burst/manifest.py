"""One hash of everything that decides what a mirror answers: the code, the declarations, the locked packages and the profile."""

import hashlib
from functools import cache
from pathlib import Path

from models.runner import Profile

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("deployments", "models", "modal_burst")
LOCKS = ("requirements-torch.lock", "requirements.lock")


@cache
def manifest(profile: Profile, root: Path = ROOT) -> str:
    """32 hex digits; the same on the cluster and on the mirror exactly when both have the same files and profile."""
    digest = hashlib.sha256(profile.encode())
    for path in _files(root):
        digest.update(f"{path.relative_to(root).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:32]


def travels(path: Path) -> bool:
    """Whether a file belongs to the code; what Python and editors leave behind does not."""
    return path.suffix != ".pyc" and not any(part.startswith(".") or part == "__pycache__" for part in path.parts)


def _files(root: Path) -> list[Path]:
    found = [path for source in SOURCES for path in (root / source).rglob("*") if path.is_file() and travels(path.relative_to(root))]
    return sorted(found) + [root / lock for lock in LOCKS]
