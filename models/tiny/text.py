"""Toy UMT5 parts of the Wan family."""

from typing import Any

_PIECES = ("<pad>", "</s>", "<unk>", "▁", *(chr(code) for code in range(33, 127)))


def umt5(width: int = 32, layers: int = 2) -> Any:
    """A text encoder for `umt5_tokenizer`."""
    from transformers import UMT5Config, UMT5EncoderModel

    config = UMT5Config(
        vocab_size=len(_PIECES),
        d_model=width,
        d_kv=width // 4,
        d_ff=2 * width,
        num_layers=layers,
        num_heads=4,
        feed_forward_proj="gated-gelu",
        use_cache=False,
    )
    return UMT5EncoderModel(config)


def umt5_tokenizer() -> Any:
    """Each printable ASCII character is a piece. Written down, not trained, since training is not deterministic."""
    from transformers import T5Tokenizer

    return T5Tokenizer(
        vocab=[(piece, 0.0 if index < 3 else -2.0) for index, piece in enumerate(_PIECES)], extra_ids=0, model_max_length=512
    )
