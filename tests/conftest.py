"""What several folders of tests share: one Ray cluster a session, and pictures that installed packages ship."""

import base64
import io
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage

from models.task import Image
from serve.local import environment, port_is_free, start_cluster, start_models, stop_cluster
from serve.settings import Settings

MAIN_JOB = ("wan-t2v", "wan-ti2v", "face-swap")


NEIGHBOURS = (0, 404, 405, 1101)  # of a served port: HAProxy's and the metrics' (serve/local.py)


def free_port() -> int:
    """A port that nobody listens on, nor on its neighbours. Outgoing connections and Ray's workers get theirs from other ranges."""
    tries = (random.SystemRandom().randrange(20_000, 31_000) for _ in range(100))
    return next(port for port in tries if all(port_is_free("127.0.0.1", port + away) for away in NEIGHBOURS))


PORT = free_port()
environment(Settings(port=PORT))  # here, since ray reads it when a test module imports it


@pytest.fixture(scope="session")
def astronaut() -> Image:
    """A real photo of a person, 512×512."""
    from skimage import data

    return np.ascontiguousarray(data.astronaut())


@pytest.fixture(scope="session")
def tiny_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where this session builds its tiny checkpoints, once."""
    return tmp_path_factory.mktemp("weights")


def png_url(pixels: Image) -> str:
    """A picture as a PNG data URL."""
    buffer = io.BytesIO()
    PilImage.fromarray(pixels).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


@pytest.fixture(scope="session")
def face_url(astronaut: Image) -> str:
    """The photo as callers send it."""
    return png_url(astronaut)


@dataclass(frozen=True)
class Served:
    """The system as `make run` serves it, with the models of the main job."""

    url: str
    settings: Settings


@pytest.fixture(scope="session")
def ray_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """One Ray cluster for the whole session, started the way `make run` starts it, on a port of its own."""
    folder = tmp_path_factory.mktemp("place")
    settings = Settings(
        port=PORT,
        models=MAIN_JOB,
        weights_root=folder / "weights",
        lora_root=str(folder / "loras"),
        database_url=f"sqlite:///{folder}/jobs.db",
        max_body_bytes=60_000_000,
    )
    start_cluster(settings)
    yield settings
    stop_cluster()


@pytest.fixture(scope="session")
def served(ray_cluster: Settings) -> Served:
    """The main job's models, up."""
    start_models(ray_cluster)
    return Served(f"http://127.0.0.1:{ray_cluster.port}", ray_cluster)


# Modules of whole pipelines, of databases, and of waits that must run out: part of `make test`, not of `make fast`.
SLOW_MODULES = (
    "modal_burst/test_backend.py",
    "modal_burst/test_line.py",
    "modal_burst/test_loopback.py",
    "modal_burst/test_mirror.py",
    "models/faceswap/test_inswapper_torch.py",
    "models/faceswap/test_occlusion.py",
    "models/faceswap/test_swapper.py",
    "models/flux/test_faces.py",
    "models/flux/test_runner.py",
    "models/flux2/test_flux2.py",
    "models/identity/test_parsing.py",
    "models/identity/test_pulid.py",
    "models/lora/test_worn.py",
    "models/media/test_robustness.py",
    "models/sdxl/test_faces.py",
    "models/sdxl/test_runner.py",
    "models/test_compiled.py",
    "models/tiny/test_trained_weights.py",
    "models/wan/test_image_to_video.py",
    "models/wan/test_long_clips.py",
    "models/wan/test_loras.py",
    "models/wan/test_reference_to_video.py",
    "models/wan/test_two_experts.py",
    "serve/test_burst_faults.py",
    "serve/test_comfyui.py",
    "serve/test_dispatch.py",
    "serve/test_fal.py",
    "serve/test_loras.py",
    "serve/test_videos.py",
    "tools/tiny_weights/test_export.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.as_posix().endswith(SLOW_MODULES):
            item.add_marker(pytest.mark.slow)
        if item.get_closest_marker("ray") is not None:
            item.add_marker(pytest.mark.flaky(reruns=1))  # clocks of a dozen processes on shared cores; the summary counts second tries
