"""The operator's LoRAs, which every tenant may name.

`python -m serve.shared_loras NAME FILE --base DEPLOYMENT` brings one, `python -m serve.shared_loras NAME --remove` drops one.
"""

import argparse
import asyncio
import json
import sys
from pathlib import Path

from deployments import deployments
from deployments.spec.stores import lora_files
from models.errors import RylaError
from serve.bodies import parse
from serve.jobs import Jobs
from serve.lora_routes import LoraUpload
from serve.loras import SHARED, Loras, NewLora
from serve.settings import Settings


async def main(arguments: list[str]) -> str:
    """Do what the command line says; returns a line for the operator. Raises RylaError."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--base", help="the deployment it was trained for")
    parser.add_argument("--trigger-word", default="")
    parser.add_argument("--licence", default="unknown")
    parser.add_argument("--remove", action="store_true")
    said = parser.parse_args(arguments)
    settings = Settings()
    registry = Loras(Jobs(settings.database_url).engine, lora_files(settings), deployments(), settings.max_lora_bytes)
    if said.remove:
        await registry.remove(said.name, SHARED)
        return f"{said.name} is gone"
    if said.file is None or said.base is None:
        parser.error("FILE and --base are needed")
    fields = {"name": said.name, "base": said.base, "trigger_word": said.trigger_word, "licence": said.licence}
    new = NewLora(**parse(LoraUpload, json.dumps(fields).encode()).model_dump())
    entry, is_new = await registry.add(new, said.file, SHARED)
    return f"{entry['name']}: rank {entry['rank']}, {entry['bytes']:,} bytes, {'new' if is_new else 'known already'}"


if __name__ == "__main__":
    try:
        print(asyncio.run(main(sys.argv[1:])))
    except RylaError as error:
        sys.exit(error.message)
