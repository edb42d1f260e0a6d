"""Toy Qwen language-model parts that several families read their prompts with."""

from typing import Any

SPECIAL = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def qwen_tokenizer() -> Any:
    """A tokenizer without merges: every byte is a token. Written down, not trained, since training is not deterministic."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import Qwen2Tokenizer

    vocab = [*sorted(ByteLevel.alphabet()), "<|endoftext|>"]
    tokenizer: Any = Qwen2Tokenizer(vocab={token: index for index, token in enumerate(vocab)}, merges=[], model_max_length=2048)
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL)})
    tokenizer.chat_template = CHAT
    return tokenizer


def qwen3(layers: int = 3, width: int = 32, causal: bool = False) -> Any:
    """A Qwen3 text encoder for `qwen_tokenizer`; `causal` keeps the language-model head."""
    from transformers import Qwen3Config, Qwen3ForCausalLM, Qwen3Model

    config = Qwen3Config(
        vocab_size=len(qwen_tokenizer()),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=2048,
    )
    return (Qwen3ForCausalLM if causal else Qwen3Model)(config)
