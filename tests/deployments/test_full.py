"""The `full` profile's own path, on toy-size copies of the published layouts: pinned, verified, loaded whole or not at all."""

import hashlib
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from deployments import deployments
from models.errors import WeightsMissing
from models.identity.instantid import ADAPTER_FILE
from models.store import MirrorSource, Pin, PinnedStore, folder_name
from models.tiny import BUILDERS, TinyStore
from models.weights import Checkpoint, Loading, folders

pytestmark = pytest.mark.slow
REVISION = "0123456789abcdef0123456789abcdef01234567"
CHECKED = ("base", "instantid", "ip_adapter", "clip_vision", "pulid", "eva_clip")  # roles whose files are taken tensors from, one at a time
EXACT = {"InstantX/InstantID", "openai/clip-vit-large-patch14"}  # these may hold no tensor too many either
LOADED = [declared for declared in deployments().values() if "base" in declared.weights]  # the others are in the face engine's tests


def published(mirror: Path, tiny: Path, weights: dict[str, Checkpoint]) -> dict[str, Pin]:
    """Toy checkpoints where a mirror keeps them, with their pins."""
    pins = dict[str, Pin]()
    for checkpoint in weights.values():
        if checkpoint.repo in BUILDERS:
            folder = mirror / folder_name(checkpoint.repo) / REVISION
            shutil.copytree(TinyStore(tiny).folder(checkpoint), folder, dirs_exist_ok=True)
            pins[checkpoint.repo] = pin(folder)
    return pins


def pin(folder: Path) -> Pin:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return Pin(REVISION, {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files})


def networks(folder: Path) -> list[Path]:
    """All files of weights in a checkpoint."""
    return sorted(folder.rglob("*.safetensors"))


@pytest.mark.parametrize("declared", LOADED, ids=lambda declared: declared.name)
def test_a_published_layout_loads_whole_or_not_at_all(declared, tiny_root, tmp_path):
    mirror = tmp_path / "mirror"
    pins = published(mirror, tiny_root / "tiny", dict(declared.weights))

    def load(root: str) -> None:
        store = PinnedStore(tmp_path / root, MirrorSource(f"file://{mirror}"), pins, commercial_only=False, grants=frozenset())
        declared.load(Loading(folders(store, declared.weights))).close()

    load("whole")
    for repo in (declared.weights[role].repo for role in CHECKED if role in declared.weights):
        for number, path in enumerate(networks(mirror / folder_name(repo) / REVISION)):
            whole = path.read_bytes()
            state = load_file(path)
            largest = max(state, key=lambda key: state[key].numel())
            faulty = {"holed": {name: tensor for name, tensor in state.items() if name != largest}}
            if repo in EXACT and path.name != ADAPTER_FILE:
                faulty["overfull"] = state | {"stranger.weight": state[largest]}
            for fault, tensors in faulty.items():
                save_file({name: tensor.clone() for name, tensor in tensors.items()}, path, metadata={"format": "pt"})
                pins[repo] = pin(mirror / folder_name(repo) / REVISION)
                with pytest.raises(WeightsMissing):
                    load(f"{fault}-{folder_name(repo)}-{number}")
            path.write_bytes(whole)
            pins[repo] = pin(mirror / folder_name(repo) / REVISION)


def test_every_model_that_needs_weights_has_a_toy_of_its_layout():
    for declared in LOADED:
        missing = [c.repo for c in declared.weights.values() if not c.optional and c.repo not in BUILDERS]
        assert not missing, (declared.name, missing)
