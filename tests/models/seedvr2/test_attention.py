import pytest
import torch

from models.seedvr2.attention import Streams, WindowAttention, Windows
from models.seedvr2.config import DitConfig
from models.seedvr2.windows import layout

CONFIG = DitConfig(dim=16, heads=2, head_dim=12, layers=1, separate_layers=1, mlp="gelu", rope="window", text_dim=8, refined_output=False)


@pytest.mark.parametrize("shifted", [False, True])
def test_attention_in_batches_of_windows_equals_attention_with_a_mask(shifted):
    """The same numbers from all tokens at once, where a mask lets video see its window and the text."""
    torch.manual_seed(0)
    attention = WindowAttention(CONFIG, shared=False)
    cut = layout((2, 6, 10), shifted=shifted)
    video, text = torch.randn(120, 16), torch.randn(5, 16)
    with torch.no_grad():
        got_video, got_text = attention(video, text, Windows.on(video.device, cut))

        window = torch.empty(120, dtype=torch.long)
        for number, tokens in enumerate(tokens for batch in cut.batches() for tokens in torch.from_numpy(batch)):
            window[tokens] = number
        qkv = [x.unflatten(-1, (3, 2, 12)) for x in attention.proj_qkv(video, text)]
        q = attention.rope(*attention.norm_q(qkv[0][:, 0], qkv[1][:, 0]), cut)
        k = attention.rope(*attention.norm_k(qkv[0][:, 1], qkv[1][:, 1]), cut)
        texts = []
        expected = torch.empty(120, 2, 12)
        for number in range(cut.count):
            mine = window == number
            keys, values = torch.cat((k[0][mine], k[1])), torch.cat((qkv[0][mine, 2], qkv[1][:, 2]))
            queries = torch.cat((q[0][mine], q[1]))
            weights = (torch.einsum("qhc,khc->hqk", queries, keys) / 12**0.5).softmax(-1)
            out = torch.einsum("hqk,khc->qhc", weights, values)
            expected[mine] = out[: int(mine.sum())]
            texts.append(out[-5:])
        expected_video, expected_text = attention.proj_out(expected.flatten(1), torch.stack(texts).mean(0).flatten(1))
    assert torch.allclose(got_video, expected_video, atol=1e-5)
    assert torch.allclose(got_text, expected_text, atol=1e-5)


def test_streams_are_named_as_in_the_checkpoint():
    def names(**kind):
        return sorted(Streams(lambda: torch.nn.Linear(2, 2, bias=False), **kind).state_dict())

    assert names(shared=False) == ["txt.weight", "vid.weight"]
    assert names(shared=True) == ["all.weight"]
    assert names(shared=False, video_only=True) == ["vid.weight"]


def test_text_passes_unchanged_through_a_stream_for_video_only():
    video, text = torch.ones(1, 2), torch.ones(1, 2)
    streams = Streams(lambda: torch.nn.Linear(2, 2), shared=True, video_only=True)
    assert streams(video, text)[1] is text
