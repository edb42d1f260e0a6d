"""Which weights a model is made of, and where they lie on this machine.

A deployment names its checkpoints by role ("base", "lora"…). A store turns each into a local folder in the published layout,
verified; runners load from folders alone, so the `tiny` and the `full` profile share every line of loading code.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from models.errors import NotLicensed, WeightsMissing
from models.safety import SafetyRules

log = logging.getLogger("ryla.weights")

Licence: TypeAlias = Literal[
    "apache-2.0", "mit", "openrail++", "flux-dev-non-commercial", "stability-community", "insightface-non-commercial", "unknown"
]

COMMERCIAL_LICENCES: frozenset[Licence] = frozenset({"apache-2.0", "mit", "openrail++"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Published weights: a repository at one revision.

    repo: "owner/name" on the model hub.
    revision: full commit hash (40 hex digits), never a branch or tag; None until an operator pins it in `deployments/weights.lock`,
        and the `full` profile refuses to load it until then.
    licence: decides whether the checkpoint may be served commercially.
    files: glob patterns of the files that are needed; the rest of the repository is not fetched.
    optional: the model serves without it where it cannot be had (not licensed, not installed); what needs it answers 501.
    """

    repo: str
    revision: str | None
    licence: Licence
    files: tuple[str, ...] = ("*.json", "*.txt", "*.model", "*.safetensors")
    optional: bool = False

    def __post_init__(self) -> None:
        """Refuse an unpinned revision or a malformed repository name."""
        if self.revision is not None and (len(self.revision) != 40 or any(c not in "0123456789abcdef" for c in self.revision)):
            raise ValueError(f"revision of {self.repo!r} must be a full commit hash (40 hex digits), got {self.revision!r}")
        if self.repo.count("/") != 1:
            raise ValueError(f"repo must be 'owner/name', got {self.repo!r}")

    @property
    def may_be_sold(self) -> bool:
        """Whether the licence allows commercial serving without a separate grant."""
        return self.licence in COMMERCIAL_LICENCES


@dataclass(frozen=True, slots=True)
class Loading:
    """What a runner is built from.

    files: a verified folder a role. device: where to load them ("cpu", "cuda", "cuda:1"). safety: the place's rules.
    compiled: whether networks are compiled, for speed that the first call of each size pays.
    """

    files: Mapping[str, Path]
    device: str = "cpu"
    safety: SafetyRules = field(default_factory=SafetyRules)
    compiled: bool = False


class WeightStore(Protocol):
    """Turns a checkpoint into a verified local folder."""

    def folder(self, checkpoint: Checkpoint) -> Path:
        """Local folder of `checkpoint` in the published layout. Raises WeightsMissing when it cannot be had."""
        ...


def folders(store: WeightStore, weights: Mapping[str, Checkpoint]) -> dict[str, Path]:
    """A folder a role. Raises what the store raises, except for an optional checkpoint: that role is left out, and the log says why."""
    found: dict[str, Path] = {}
    for role, checkpoint in weights.items():
        try:
            found[role] = store.folder(checkpoint)
        except (NotLicensed, WeightsMissing) as error:
            if not checkpoint.optional:
                raise
            log.warning("serving without %r: %s", role, error.message)
    return found
