"""LoRA files by their SHA-256, in a local folder or on anything fsspec can reach, with a verified copy on this node's disk."""

import hashlib
import os
import re
import uuid
from pathlib import Path
from typing import Any, cast

import fsspec
from filelock import FileLock

from models.errors import NotFound, WeightsMissing
from models.lora.base import Base
from models.lora.tiers import Tier


class LoraFiles:
    """Files under `root` (a folder, or a URL such as s3://bucket/loras). Remote ones are kept in `cache`, up to `cache_bytes`, LRU."""

    def __init__(self, root: str, cache: Path, cache_bytes: int) -> None:
        self._files, self._root = cast(tuple[Any, str], fsspec.core.url_to_fs(root))
        protocol = self._files.protocol
        self._is_local = "file" in (protocol if isinstance(protocol, tuple) else (protocol,))
        self._cache = cache
        self._cache_bytes = cache_bytes
        self._verified: set[str] = set()

    def put(self, file: Path, digest: str, *, again: bool = False) -> None:
        """Store a file under its SHA-256. It appears whole or not at all. again: also where one is, which may be damaged."""
        self._files.makedirs(self._root, exist_ok=True)
        if not again and self._files.exists(self._at(digest)):
            return
        partial = f"{self._root}/.{uuid.uuid4().hex}.part"
        try:
            self._files.put_file(str(file), partial)
            self._files.mv(partial, self._at(digest))
        finally:
            if self._files.exists(partial):
                self._files.rm(partial)

    def remove(self, digest: str) -> None:
        """Drop a file; those who have read it keep what they have."""
        if self._files.exists(self._at(digest)):
            self._files.rm(self._at(digest))

    def local(self, digest: str) -> tuple[Path, Tier]:
        """A verified local file, and whether it was on this disk ("disk") or had to be fetched ("cold").

        Raises NotFound when it is gone, WeightsMissing when it is not what its name says.
        """
        if self._is_local:
            path = Path(self._at(digest))
            if not path.exists():
                raise NotFound(f"LoRA not found: its file {digest[:12]}… was deleted")
            return self._verify(path, digest), "disk"
        self._cache.mkdir(parents=True, exist_ok=True)
        path = self._cache / f"{digest}.safetensors"
        with FileLock(f"{path}.lock"):  # other processes of this node wait, and find it
            if path.exists():
                os.utime(path)
                return self._verify(path, digest), "disk"
            partial = path.with_suffix(".part")
            try:
                self._files.get_file(self._at(digest), str(partial))
                self._verify(partial, digest)
                partial.rename(path)
            except FileNotFoundError:
                raise NotFound(f"LoRA not found: its file {digest[:12]}… was deleted") from None
            finally:
                partial.unlink(missing_ok=True)
        self._trim(path)
        return path, "cold"

    def publish_base(self, name: str, base: Base) -> None:
        """Write down what LoRAs of the deployment `name` must fit."""
        self._files.makedirs(f"{self._root}/bases", exist_ok=True)
        self._files.pipe_file(f"{self._root}/bases/{name}.json", base.to_json().encode())

    def base(self, name: str) -> Base | None:
        """What LoRAs of the deployment `name` must fit; None until one of its replicas has been up."""
        try:
            return Base.from_json(self._files.cat_file(f"{self._root}/bases/{name}.json").decode())
        except FileNotFoundError:
            return None

    def _at(self, digest: str) -> str:
        assert re.fullmatch("[0-9a-f]{64}", digest), "files are named by their SHA-256 alone"
        return f"{self._root}/{digest}.safetensors"

    def _verify(self, path: Path, digest: str) -> Path:
        """Hash the file the first time this process reads it; a wrong copy is removed from the cache."""
        if digest not in self._verified:
            if sha256(path) != digest:
                if not self._is_local:
                    path.unlink()
                raise WeightsMissing(f"the file of LoRA {digest[:12]}… is damaged where it is stored; upload it again")
            self._verified.add(digest)
        return path

    def _trim(self, newest: Path) -> None:
        files = sorted(self._cache.glob("*.safetensors"), key=lambda path: path.stat().st_mtime, reverse=True)
        total = 0
        for path in files:
            total += path.stat().st_size
            if total > self._cache_bytes and path != newest:
                path.unlink(missing_ok=True)  # whoever has it open reads on


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as reader:
        return hashlib.file_digest(reader, "sha256").hexdigest()
