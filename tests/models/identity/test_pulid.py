import numpy as np
import pytest

from models.tiny.faces import build_eva, build_pulid


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    from safetensors.torch import load_file

    folder = tmp_path_factory.mktemp("pulid")
    build_pulid(folder)
    return load_file(folder / "pulid_flux_v0.9.1.safetensors")


@pytest.fixture(scope="module")
def eva_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("eva")
    build_eva(folder)
    return folder


def networks(weights):
    import torch

    from models.identity.pulid_encoder import load

    return load(weights, "cpu", torch.float32)


def test_the_encoder_gives_32_tokens_of_each_item(weights):
    import torch

    encoder, _ = networks(weights)
    identity = torch.randn(2, 512 + 768, generator=torch.Generator().manual_seed(0))
    features = [torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(level)) for level in range(5)]
    tokens = encoder(identity, features)
    assert tokens.shape == (2, 32, 48)
    alone = encoder(identity[1:], [level[1:] for level in features])
    assert (tokens[1:] - alone).abs().max() < 1e-5
    for changed in range(5):  # every level is looked at
        other = [level + (n == changed) for n, level in enumerate(features)]
        assert (encoder(identity, other) - tokens).abs().max() > 1e-3


def test_attention_is_softmax_over_normalised_context(weights):
    """The cross-attention against the formula written out."""
    import torch

    _, attentions = networks(weights)
    attention = attentions[0]
    context, image = torch.randn(1, 32, 48), torch.randn(1, 12, 32)
    q = attention.to_q(attention.norm2(image)).view(12, 16, 2)
    k, v = attention.to_kv(attention.norm1(context)).view(32, 2, 16, 2).unbind(1)
    share = torch.softmax(torch.einsum("qhd,khd->hqk", q, k) / 2**0.5, dim=-1)
    wanted = attention.to_out(torch.einsum("hqk,khd->qhd", share, v).reshape(12, 32))
    assert (attention(context, image)[0] - wanted).abs().max() < 1e-5


def test_the_real_sizes_count_as_published():
    """571 million parameters in the shapes of the published file, on no memory at all."""
    import torch

    from models.identity.pulid_encoder import IdentityEncoder, cross_attentions
    from models.tiny.faces import pulid_shapes

    shapes = {
        name: torch.Size(shape)
        for name, shape in pulid_shapes(width=1024, context=2048, image=3072, seen=1024, inner=2048, places=20).items()
    }
    with torch.device("meta"):
        encoder = IdentityEncoder({name.removeprefix("pulid_encoder."): shape for name, shape in shapes.items() if "encoder" in name})
        attentions = cross_attentions({name.removeprefix("pulid_ca."): shape for name, shape in shapes.items() if "ca." in name})
    counts = [sum(p.numel() for p in network.parameters()) / 1e6 for network in (encoder, attentions)]
    assert counts == [pytest.approx(151.4, abs=0.1), pytest.approx(419.6, abs=0.5)]


@pytest.mark.parametrize("damage", ["missing", "unknown"])
def test_a_file_that_does_not_fit_is_refused(weights, damage):
    broken = dict(weights)
    if damage == "missing":
        del broken["pulid_encoder.mapping_3.4.bias"]
    else:
        broken["pulid_ca.0.extra"] = weights["pulid_encoder.latents"]
    with pytest.raises(RuntimeError, match=r"mapping_3\.4\.bias|extra"):
        networks(broken)


def test_the_tower_gives_unit_vectors_and_five_levels(eva_folder):
    import torch

    from models.identity.eva import EvaTower

    tower = EvaTower(eva_folder, "cpu", torch.float32)
    pictures = [np.random.default_rng(n).integers(0, 256, (64, 64, 3), np.uint8) for n in range(3)]
    vectors, levels = tower.see(pictures)
    assert vectors.shape == (3, 768)
    assert torch.allclose(vectors.norm(dim=-1), torch.ones(3))
    assert [tuple(level.shape) for level in levels] == [(3, 1 + 4, 32)] * 5
    alone, _ = tower.see(pictures[2:])
    assert (vectors[2:] - alone).abs().max() < 1e-5


def test_the_tower_reads_the_names_of_the_original_release(eva_folder, tmp_path):
    import torch
    from safetensors.torch import load_file, save_file

    from models.identity.eva import EvaTower

    renamed = {}
    for name, tensor in load_file(eva_folder / "model.safetensors").items():
        for ours, theirs in (
            ("attn.norm.", "attn.inner_attn_ln."),
            ("mlp.norm.", "mlp.ffn_ln."),
            ("mlp.fc1_g.", "mlp.w1."),
            ("mlp.fc1_x.", "mlp.w2."),
            ("mlp.fc2.", "mlp.w3."),
        ):
            name = name.replace(ours, theirs)
        renamed[f"visual.{name}"] = tensor
    renamed["text.something"] = torch.zeros(1)  # the other tower of the same file
    save_file(renamed, tmp_path / "EVA02_CLIP_L_336_psz14_s6B.safetensors")
    (tmp_path / "config.json").write_text((eva_folder / "config.json").read_text())
    picture = [np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)]
    ours, theirs = (EvaTower(folder, "cpu", torch.float32).see(picture)[0] for folder in (eva_folder, tmp_path))
    assert torch.equal(ours, theirs)
