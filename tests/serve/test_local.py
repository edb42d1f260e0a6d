"""What `make run` tells its user."""

import shlex

import pytest

from serve.cli import _parser  # what a user types goes through it
from serve.local import greeting
from serve.settings import Settings


def printed(settings: Settings) -> list[str]:
    """The words of the main job's command, without the interpreter."""
    lines = [line.strip(" \\") for line in greeting(settings).splitlines() if "serve.cli" in line or "--reference-image" in line]
    return shlex.split(" ".join(lines))[3:]


@pytest.mark.parametrize(
    ("changes", "url", "key"),
    [
        ({}, "http://127.0.0.1:8000", None),
        ({"port": 8600}, "http://127.0.0.1:8600", None),
        ({"api_keys": {"0" * 64: "studio"}}, "http://127.0.0.1:8000", "KEY"),
    ],
)
def test_the_printed_command_reaches_this_server(changes, url, key):
    options = _parser().parse_args(printed(Settings(**changes)))
    assert (options.endpoint.name, options.url, options.api_key) == ("wan2.6-i2v-faceswap", url, key)
    assert str(options.output) == "out.mp4"
