"""`python -m models.lora.check FILE BASE.json`: whether an uploaded LoRA fits a base, in a process of its own.

Converting a stranger's file takes memory and a library's trust in it, so it happens where neither can hurt the gateway.
Prints one JSON object: {"rank": …, "layers": …} or {"error": …}.
"""

import json
import sys
from pathlib import Path

from models.errors import LoraRejected
from models.lora.adapter import load_adapter
from models.lora.base import Base
from models.torchvision_ops import declare


def check(file: Path, base: Base) -> dict[str, int]:
    """Rank and number of layers of a LoRA after conversion. Raises LoraRejected."""
    declare()
    adapter = load_adapter(file, base)
    return {"rank": adapter.rank, "layers": len(adapter.matrices)}


def main() -> None:
    """Check one file."""
    file, base = sys.argv[1:]
    try:
        print(json.dumps(check(Path(file), Base.from_json(Path(base).read_text()))))
    except LoraRejected as error:
        print(json.dumps({"error": error.message}))


if __name__ == "__main__":
    main()
