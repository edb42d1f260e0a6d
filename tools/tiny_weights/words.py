"""The text side: a tokenizer of whole words, a tiny frozen encoder with random weights, and sentences to learn from."""

import random
from dataclasses import dataclass
from typing import Any

import torch

from models.torchvision_ops import declare
from tools.tiny_weights.camera import MOVES, SPEEDS
from tools.tiny_weights.networks import TEXT_WIDTH

MAX_WORDS = 48  # of a sentence in training; in use the encoder pads to 512

_DIRECTIONS = {
    "zoom in": (
        "zoom in",
        "zooms in",
        "zooming in",
        "push in",
        "pushes in",
        "pushing in",
        "dolly in",
        "dollies in",
        "move closer",
        "moves closer",
        "zoom closer",
        "close in",
    ),
    "zoom out": (
        "zoom out",
        "zooms out",
        "zooming out",
        "pull out",
        "pulls out",
        "pull back",
        "pulls back",
        "pulling back",
        "dolly out",
        "zoom back",
        "move away",
        "moves away",
    ),
    "pan left": (
        "pan left",
        "pans left",
        "panning left",
        "pan to the left",
        "pans to the left",
        "truck left",
        "camera moves left",
        "slides left",
    ),
    "pan right": (
        "pan right",
        "pans right",
        "panning right",
        "pan to the right",
        "pans to the right",
        "truck right",
        "camera moves right",
        "slides right",
    ),
    "tilt up": ("tilt up", "tilts up", "tilting up", "tilt upward", "tilts upwards", "camera moves up", "crane up", "pedestal up"),
    "tilt down": (
        "tilt down",
        "tilts down",
        "tilting down",
        "tilt downward",
        "tilts downwards",
        "camera moves down",
        "crane down",
        "pedestal down",
    ),
    "orbit left": ("orbit left", "orbits left", "orbiting left", "orbits to the left", "arc left", "circles left"),
    "orbit right": (
        "orbit",
        "orbits",
        "orbiting",
        "orbit shot",
        "orbits around",
        "circles around",
        "orbit right",
        "orbits right",
        "orbits to the right",
        "arc shot",
        "arc right",
    ),
    "handheld": ("handheld", "handheld camera", "hand-held", "shaky", "shaky camera", "camera shake", "shaking camera"),
    "still": (
        "still",
        "static",
        "static camera",
        "static shot",
        "still camera",
        "locked camera",
        "locked-off shot",
        "fixed camera",
        "no camera movement",
        "motionless",
        "the camera does not move",
        "camera stays still",
    ),
}
_SPEED_WORDS = {"slow": ("slow", "slowly", "gently", "gentle", "subtle"), "fast": ("fast", "quickly", "quick", "rapidly", "rapid")}
COLOURS = {
    "red": (0.85, 0.10, 0.10),
    "green": (0.10, 0.65, 0.15),
    "blue": (0.12, 0.20, 0.85),
    "yellow": (0.95, 0.85, 0.10),
    "orange": (0.95, 0.50, 0.05),
    "purple": (0.50, 0.15, 0.65),
    "pink": (0.95, 0.50, 0.70),
    "cyan": (0.10, 0.80, 0.85),
    "white": (0.95, 0.95, 0.95),
    "black": (0.05, 0.05, 0.05),
    "grey": (0.50, 0.50, 0.50),
    "brown": (0.45, 0.28, 0.14),
}
SHAPES = ("circle", "square", "triangle", "stripes")
_SHAPE_WORDS = (
    "circle",
    "circles",
    "square",
    "squares",
    "triangle",
    "triangles",
    "stripe",
    "stripes",
    "striped",
    "ball",
    "balls",
    "dot",
    "dots",
)

_PLAIN = (  # noqa: SIM905 - a list literal would be a word a line
    "a an the of on in with and to at by from for is her his she he it their looking smiling walking standing sitting woman man "
    "girl boy person people face portrait photo picture video shot scene camera view movement background foreground behind front "
    "park street city beach sea room window light sunlight night day morning evening forest mountain garden cafe studio dress hair "
    "eyes hand left right up down out back away closer around over under through cinematic realistic detailed quality high low "
    "blurry soft bright dark colors colourful film grain close wide medium then while as moving move moves two three several field "
    "fields gradient abstract big small large does not no stay stays keep keeps wind rain snow water sky cloud clouds table chair "
    "car dog cat bird flower tree "
).split()

_FILLER = (
    "a woman smiling",
    "portrait of a young woman",
    "a man walking in the park",
    "she is looking up at the sky",
    "standing on the left side of the street",
    "a girl in a red dress",
    "cinematic light",
    "highly detailed",
    "soft morning light",
    "a cat sitting on a chair",
    "looking to the right",
    "in the city at night",
    "wind in her hair",
    "he turns around",
    "sitting down at a table",
    "film grain",
    "35mm",
    "beautiful face",
    "out in the rain",
    "a dog runs by",
    "4k",
    "masterpiece",
    "her left hand raised",
    "looking at the camera",
    "a face in close view",
    "people in the background",
    "sunlight from the right",
    "walking out of the forest",
    "blurry background",
    "realistic photo",
    "back view of a car",
    "on the beach",
    "vlog",
    "静态，细节模糊不清，字幕，低质量",
    "色调艳丽 画面 静止",
    "influencer in a cafe",
    "golden hour",
    "bird up in a tree",
)
_NEGATIVE = (
    "blurry, low quality",
    "bad anatomy, deformed",
    "worst quality, text, watermark",
    "ugly face, static, still picture",
    "overexposed, static, blurry details",
    "jpeg artifacts",
)


def vocabulary() -> list[str]:
    """Every word that has its own token, in a fixed order."""
    spoken = [phrase for phrases in (*_DIRECTIONS.values(), *_SPEED_WORDS.values()) for phrase in phrases]
    words = [word for phrase in spoken for word in phrase.replace("-", " ").split()]
    return list(dict.fromkeys([*words, *COLOURS, "gray", *_SHAPE_WORDS, *_PLAIN, ",", ".", "-", "!", "?", "'"]))


def tokenizer() -> Any:
    """Lower-cased words and punctuation marks; what is not in the vocabulary is one unknown word."""
    declare()
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "</s>", "<unk>", *vocabulary()]
    core = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    core.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    core.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()])
    core.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=512)


def encoder() -> Any:
    """A frozen random UMT5 encoder. Its position biases are enlarged, so that what a word becomes depends on its neighbours."""
    declare()
    from transformers import UMT5Config, UMT5EncoderModel

    config = UMT5Config(
        vocab_size=3 + len(vocabulary()),
        d_model=TEXT_WIDTH,
        d_kv=16,
        d_ff=128,
        num_layers=2,
        num_heads=4,
        use_cache=False,
        pad_token_id=0,
        eos_token_id=1,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = UMT5EncoderModel(config).eval().requires_grad_(False)
        for name, weight in model.named_parameters():
            if "relative_attention_bias" in name:
                weight.copy_(3.0 * torch.randn(weight.shape))
            elif weight.dim() == 2 and "shared" not in name:
                weight.copy_(torch.randn(weight.shape) * weight.shape[1] ** -0.5)
            elif "shared" in name:
                weight.copy_(torch.randn(weight.shape))
    return model


@dataclass(frozen=True, slots=True)
class Sentence:
    """A prompt, and what it asks of the camera: 0 or 1 for each of `MOVES` and `SPEEDS`. The empty prompt asks for nothing."""

    text: str
    moves: tuple[int, ...]
    speeds: tuple[int, ...]


def sentence(numbers: random.Random) -> Sentence:
    """A random prompt: some filler, usually one camera phrase, sometimes two or none."""
    roll = numbers.random()
    if roll < 0.08:
        return Sentence("", (0,) * len(MOVES), (0,) * len(SPEEDS))
    asked = [] if roll < 0.24 else [numbers.choice(MOVES[:-1])]
    if roll > 0.86 and asked[0] in MOVES[:8]:
        others = {"zoom in": MOVES[2:8], "zoom out": MOVES[2:8]}.get(asked[0], MOVES[:2])
        asked.append(numbers.choice(others))
    speed = numbers.choice(SPEEDS) if asked and asked[0] not in ("still", "handheld") and numbers.random() < 0.3 else None
    parts: list[str] = []
    for move in asked:
        phrase = numbers.choice(_DIRECTIONS[move])
        if speed:
            word = numbers.choice(_SPEED_WORDS[speed])
            phrase = numbers.choice((f"{word} {phrase}", f"{phrase} {word}"))
        if phrase.split()[0] not in ("the", "camera", "no") and numbers.random() < 0.5:
            phrase = numbers.choice(("camera ", "the camera ", "camera: ", "slight ")) + phrase
        parts.append(phrase)
    camera_part = numbers.choice((" and ", ", ", " then ")).join(parts)
    filler = numbers.sample(_FILLER, numbers.randint(0 if asked else 1, 4))
    place = numbers.randint(0, len(filler))
    pieces = [*filler[:place], *([camera_part] if camera_part else []), *filler[place:]]
    text = numbers.choice((", ", ". ", ", ", " ")).join(pieces)
    text = numbers.choice((str, str.capitalize, str.title, lambda line: line + "."))(text)
    moves = tuple(int(move in asked or (move == "drift" and not asked)) for move in MOVES)
    return Sentence(text, moves, tuple(int(name == speed) for name in SPEEDS))


def negative(numbers: random.Random) -> str:
    """What a caller may give as the negative prompt; usually nothing."""
    return "" if numbers.random() < 0.5 else ", ".join(numbers.sample(_NEGATIVE, numbers.randint(1, 3)))


class Reader:
    """Encodes sentences as the pipeline does: padded with zeros after the last word."""

    def __init__(self, device: torch.device) -> None:
        self.words, self.model, self.device = tokenizer(), encoder().to(device), device

    @torch.no_grad()
    def read(self, texts: list[str], length: int = MAX_WORDS) -> torch.Tensor:
        """(B, length, TEXT_WIDTH), zeros behind each sentence's end."""
        tokens = self.words(
            texts, padding="max_length", max_length=length, truncation=True, return_attention_mask=True, return_tensors="pt"
        ).to(self.device)
        hidden = self.model(tokens.input_ids, tokens.attention_mask).last_hidden_state
        return hidden * tokens.attention_mask[..., None]
