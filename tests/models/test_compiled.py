"""What a place that compiles its models gets."""

import pytest

from deployments import deployments
from models.tiny import TinyStore
from models.weights import Loading, folders


@pytest.mark.parametrize("name", ["flux-dev", "flux2-klein", "z-image", "qwen-image-2512", "qwen-image-edit-2511", "sdxl", "wan-ti2v"])
def test_a_compiled_model_has_compiled_blocks_and_others_none(name, tmp_path_factory):
    declared = deployments()[name]
    files = folders(TinyStore(tmp_path_factory.getbasetemp() / "tiny"), {"base": declared.weights["base"]})
    for compiled in (False, True):
        runner = declared.load(Loading(files, compiled=compiled))
        pipe = runner.checkpoints.get(None) if name == "sdxl" else runner.pipe
        denoiser = pipe.unet if name == "sdxl" else pipe.transformer
        blocks = [module for module in denoiser.modules() if type(module).__name__ in denoiser._repeated_blocks]
        assert blocks
        assert all((block._compiled_call_impl is not None) == compiled for block in blocks)
