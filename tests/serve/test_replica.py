"""What a replica does before it takes calls, in this process: it keeps to the part of a card that Ray gave it."""

from types import SimpleNamespace
from typing import Any

import pytest

from deployments.spec.deployment import Deployment, Gpu
from serve import replica
from serve.replica import Replica
from serve.settings import Settings


class Loaded:
    """A runner that tells what had been limited when it was loaded."""

    limited: list[tuple[float, str]]

    def __init__(self, _: Any) -> None:
        self.at_load = list(self.limited)


@pytest.mark.parametrize(("assigned", "share"), [({"GPU": 0.55, "CPU": 2.0}, 0.55), ({"GPU": 1.0}, 1.0), ({"CPU": 0.1}, 1.0)])
def test_the_share_that_ray_counts_is_enforced_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch, assigned: dict[str, float], share: float
):
    limited: list[tuple[float, str]] = []
    monkeypatch.setattr(Loaded, "limited", limited, raising=False)
    monkeypatch.setattr(replica.ray, "get_runtime_context", lambda: SimpleNamespace(get_assigned_resources=lambda: assigned))
    monkeypatch.setattr(replica, "limit_memory", lambda part, device: limited.append((part, device)))
    monkeypatch.setattr(replica, "default_device", lambda: "cuda")
    monkeypatch.setattr(replica, "ReplicaMetrics", lambda *_: SimpleNamespace(start=lambda: None))
    # It declares another share for its first choice of card than where it was put.
    declared = Deployment(name="m", model="M", summary="", runner=Loaded, gpu=Gpu(vram_gb=20, share={"A100-80GB": 0.3, "L40S": 0.55}))
    made = Replica(declared, Settings())
    assert limited == [(share, "cuda")]
    assert made._host.runner.at_load == limited  # type: ignore[attr-defined]
    assert made._host.card.share == share
