"""The weight store of the `full` profile: pinned, verified checkpoints on local disk, fetched once a node.

`deployments/weights.lock` pins each repository to a commit and each file to its SHA-256. `python -m models.store pin REPO…` writes it,
on a machine that reaches the hub; servers fetch from the hub or from a mirror that fsspec can read (`s3://…`, `file://…`).
"""

import fnmatch
import hashlib
import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import fsspec
from filelock import FileLock

from models.errors import NotLicensed, WeightsMissing
from models.weights import Checkpoint

LOCK_FILE = Path("deployments/weights.lock")
UNSAFE = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".msgpack", ".h5")


@dataclass(frozen=True, slots=True)
class Pin:
    """A repository at one commit, and the SHA-256 of each file that is needed of it."""

    revision: str
    files: Mapping[str, str]


def read_lock(path: Path = LOCK_FILE) -> dict[str, Pin]:
    """Pins by repository; empty when nothing is pinned yet."""
    if not path.exists():
        return {}
    return {repo: Pin(entry["revision"], entry["files"]) for repo, entry in json.loads(path.read_text()).items()}


class Source(Protocol):
    """Somewhere checkpoints are published."""

    def fetch(self, repo: str, pin: Pin, into: Path) -> None:
        """Bring the pinned files into `into`, going on where an earlier try stopped."""
        ...


class HubSource:
    """The model hub. The token, for gated repositories, is per call and never a global login."""

    def __init__(self, token: str | None = None) -> None:
        self._token = token

    def fetch(self, repo: str, pin: Pin, into: Path) -> None:
        """Download with the hub's own client, which resumes."""
        from huggingface_hub import snapshot_download

        snapshot_download(repo, revision=pin.revision, allow_patterns=list(pin.files), local_dir=into, token=self._token)
        shutil.rmtree(into / ".cache", ignore_errors=True)


class MirrorSource:
    """A copy of the pinned files under `url/owner--name/revision/`, on anything fsspec can read."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    def fetch(self, repo: str, pin: Pin, into: Path) -> None:
        """Copy file by file; a file that is already whole is left alone."""
        for name, digest in pin.files.items():
            target = into / name
            if target.exists() and sha256(target) == digest:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            files, path = cast(tuple[Any, str], fsspec.core.url_to_fs(f"{self._url}/{folder_name(repo)}/{pin.revision}/{name}"))
            files.get_file(path, str(target))


class PinnedStore:
    """Verified folders under `root`. Safe with many processes on one node: the first one fetches, the others wait."""

    def __init__(self, root: Path, source: Source, lock: Mapping[str, Pin], *, commercial_only: bool, grants: frozenset[str]) -> None:
        self._root = root
        self._source = source
        self._lock = lock
        self._commercial_only = commercial_only
        self._grants = grants

    def folder(self, checkpoint: Checkpoint) -> Path:
        """Verified folder of `checkpoint`. Raises NotLicensed, or WeightsMissing when it is not pinned or cannot be had whole."""
        if self._commercial_only and not checkpoint.may_be_sold and checkpoint.repo not in self._grants:
            raise NotLicensed(
                f"{checkpoint.repo} is licensed {checkpoint.licence!r}, which does not cover commercial use; "
                "record the grant you hold in RYLA_GRANTS, or set RYLA_COMMERCIAL=false"
            )
        pin = self._pin(checkpoint)
        target = self._root / folder_name(checkpoint.repo) / pin.revision
        if target.exists():
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock"):
            if not target.exists():
                partial = target.with_suffix(".partial")
                partial.mkdir(exist_ok=True)
                self._source.fetch(checkpoint.repo, pin, partial)
                verify(partial, pin, checkpoint.repo)
                partial.rename(target)
        return target

    def _pin(self, checkpoint: Checkpoint) -> Pin:
        pin = self._lock.get(checkpoint.repo)
        if pin is None:
            raise WeightsMissing(
                f"{checkpoint.repo} is not pinned: run `python -m models.store pin {checkpoint.repo}` and commit {LOCK_FILE}"
            )
        if checkpoint.revision is not None and pin.revision != checkpoint.revision:
            raise WeightsMissing(
                f"{checkpoint.repo} is declared at {checkpoint.revision} but pinned at {pin.revision} in {LOCK_FILE}; make them agree"
            )
        unsafe = [name for name in pin.files if name.endswith(UNSAFE)]
        if unsafe:
            raise WeightsMissing(f"{checkpoint.repo} pins {unsafe[0]}, a format that can run code; convert it to safetensors first")
        return pin


def verify(folder: Path, pin: Pin, repo: str) -> None:
    """Check every pinned file, and remove one that is wrong so that the next try fetches it anew. Raises WeightsMissing."""
    for name, digest in pin.files.items():
        path = folder / name
        if not path.exists():
            raise WeightsMissing(f"{repo}: {name} did not arrive")
        if sha256(path) != digest:
            path.unlink()
            raise WeightsMissing(f"{repo}: {name} does not have the pinned SHA-256; it was removed, try again")


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as reader:
        return hashlib.file_digest(reader, "sha256").hexdigest()


def folder_name(repo: str) -> str:
    """The folder a repository is kept in."""
    return repo.replace("/", "--")


def pin_repository(repo: str, patterns: tuple[str, ...], token: str | None = None) -> Pin:
    """Ask the hub for the newest commit of `repo` and the hash of each file that matches `patterns`."""
    from huggingface_hub import HfApi, hf_hub_download

    info: Any = HfApi(token=token).model_info(repo, files_metadata=True)
    files: dict[str, str] = {}
    for entry in info.siblings:
        name = str(entry.rfilename)
        if any(fnmatch.fnmatch(name, pattern) for pattern in patterns) and not name.endswith(UNSAFE):
            stored = entry.lfs
            files[name] = stored.sha256 if stored else sha256(Path(hf_hub_download(repo, name, revision=info.sha, token=token)))
    return Pin(str(info.sha), files)


def main() -> None:
    """`pin REPO…`: write or renew the pins of these repositories."""
    if len(sys.argv) < 3 or sys.argv[1] != "pin":
        sys.exit("usage: python -m models.store pin OWNER/NAME…")
    lock: dict[str, Any] = json.loads(LOCK_FILE.read_text()) if LOCK_FILE.exists() else {}
    for repo in sys.argv[2:]:
        pin = pin_repository(repo, Checkpoint(repo=repo, revision=None, licence="unknown").files)
        lock[repo] = {"revision": pin.revision, "files": dict(sorted(pin.files.items()))}
        print(f"{repo} pinned at {pin.revision}, {len(pin.files)} files")
    LOCK_FILE.write_text(json.dumps(dict(sorted(lock.items())), indent=1) + "\n")


if __name__ == "__main__":
    main()
