"""One hash of everything that decides what a mirror answers: the code, the declarations, the locked packages and the profile."""

import hashlib
from functools import cache
from pathlib import Path

from deployments.spec.deployment import Deployment
from models.runner import Profile
from models.store import read_lock

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


def model_version(declared: Deployment, profile: Profile) -> str:
    """What a model's pixels depend on beside the request: the revision of its weights and the manifest, both cut to twelve digits."""
    base = next(iter(declared.weights.values()), None)
    pin = None if base is None else read_lock().get(base.repo)
    revision = None if base is None else base.revision or (pin.revision if pin is not None else None)
    weights = "tiny" if profile == "tiny" else "unpinned" if revision is None else revision[:12]
    return f"{'bundled' if base is None else weights}.{manifest(profile)[:12]}"


def travels(path: Path) -> bool:
    """Whether a file belongs to the code; what Python and editors leave behind does not."""
    return path.suffix != ".pyc" and not any(part.startswith(".") or part == "__pycache__" for part in path.parts)


def _files(root: Path) -> list[Path]:
    found = [path for source in SOURCES for path in (root / source).rglob("*") if path.is_file() and travels(path.relative_to(root))]
    return sorted(found) + [root / lock for lock in LOCKS]
