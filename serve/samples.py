"""Pictures that installed packages ship, so that the first command works on a machine without any picture."""

from importlib.util import find_spec
from pathlib import Path

SAMPLES = {
    "astronaut": ("skimage", "data/astronaut.png"),  # Eileen Collins, NASA, public domain
    "hopper": ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),  # Grace Hopper, US Navy, public domain
}


def sample(name: str) -> bytes:
    """The bytes of a sample picture. Raises ValueError naming the samples there are."""
    if name not in SAMPLES:
        raise ValueError(f"no sample {name!r}; there are {', '.join(SAMPLES)}")
    package, path = SAMPLES[name]
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ValueError(f"sample {name!r} comes with the package {package}, which is not installed; give a file instead")
    return (Path(spec.origin).parent / path).read_bytes()
