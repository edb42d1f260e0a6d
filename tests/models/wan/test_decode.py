import numpy as np
import pytest

from models.torchvision_ops import declare
from models.wan.decode import decode

OLD = {"base_dim": 8, "dim_mult": [1, 1, 2, 2], "num_res_blocks": 1, "z_dim": 16}
NEW = {
    "base_dim": 8,
    "decoder_base_dim": 16,
    "dim_mult": [1, 1, 2, 2],
    "num_res_blocks": 1,
    "z_dim": 48,
    "is_residual": True,
    "in_channels": 12,
    "out_channels": 12,
    "patch_size": 2,
    "scale_factor_spatial": 16,
    "latents_mean": [0.1] * 48,
    "latents_std": [1.3] * 48,
}


def autoencoder(shape):
    declare()
    import torch
    from diffusers import AutoencoderKLWan

    torch.manual_seed(0)
    return AutoencoderKLWan(**shape).eval()


@pytest.mark.parametrize("shape", [OLD, NEW], ids=["2.1", "2.2"])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_stream_equals_decoding_the_whole_clip(shape, count):
    import torch
    from diffusers.video_processor import VideoProcessor

    vae = autoencoder(shape)
    latents = torch.randn(1, shape["z_dim"], count, 4, 6)
    parts = list(decode(vae, latents))
    assert [len(part) for part in parts] == [1] + [4] * (count - 1)

    mean, deviation = (torch.tensor(v).view(1, -1, 1, 1, 1) for v in (vae.config.latents_mean, vae.config.latents_std))
    with torch.no_grad():
        whole = vae.decode(latents / (1.0 / deviation) + mean).sample
    expected = (VideoProcessor().postprocess_video(whole)[0] * 255).round().astype(np.uint8)
    assert np.array_equal(np.concatenate(parts), expected)
    assert expected.std() > 5  # not one flat colour


def test_two_streams_may_interleave():
    import torch

    vae = autoencoder(OLD)
    one, two = torch.randn(2, 1, 16, 3, 4, 4)
    alone = [np.concatenate(list(decode(vae, latents))) for latents in (one, two)]
    pairs = list(zip(decode(vae, one), decode(vae, two), strict=True))
    assert np.array_equal(np.concatenate([pair[0] for pair in pairs]), alone[0])
    assert np.array_equal(np.concatenate([pair[1] for pair in pairs]), alone[1])
