"""`python -m serve.cli ENDPOINT --field value … -o FILE`: one command an endpoint, generated from the registry.

Picture and clip fields take a file, or `sample:NAME` for a picture that an installed package ships.
"""

import argparse
import base64
import json
import mimetypes
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import httpx
from pydantic.fields import FieldInfo
from tqdm import tqdm

from deployments import endpoints
from deployments.spec.endpoint import Endpoint
from models.media import as_data_url
from serve.samples import sample

DEFAULT_URL = "http://127.0.0.1:8000"


def main(arguments: list[str] | None = None) -> int:
    """Run one call and write its media. Returns the exit status: 0, or 1 with the server's sentence on stderr."""
    options = vars(_parser().parse_args(arguments))
    endpoint: Endpoint = options.pop("endpoint")
    url, key, output = options.pop("url"), options.pop("api_key"), options.pop("output")
    try:
        body = {name: _value(endpoint.request.model_fields[name], text) for name, text in options.items() if text is not None}
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    started = time.perf_counter()
    try:
        result = _follow(url + endpoint.path, body, key)
    except (httpx.HTTPError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    return _write(endpoint, result, output, time.perf_counter() - started)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m serve.cli", description="Call an endpoint of the generation cluster.")
    commands = parser.add_subparsers(required=True, metavar="ENDPOINT")
    for endpoint in endpoints().values():
        command = commands.add_parser(endpoint.name, help=endpoint.summary, description=f"{endpoint.summary} {endpoint.note}")
        command.set_defaults(endpoint=endpoint)
        for name, field in endpoint.request.model_fields.items():
            command.add_argument(f"--{name.replace('_', '-')}", dest=name, required=field.is_required(), help=_help(field), metavar="VALUE")
        command.add_argument("-o", "--output", type=Path, help="file to write; not given: ENDPOINT plus the right ending")
        command.add_argument("--url", default=os.environ.get("RYLA_URL", DEFAULT_URL), help="server (RYLA_URL)")
        command.add_argument("--api-key", default=os.environ.get("RYLA_API_KEY"), help="API key (RYLA_API_KEY)")
    return parser


def _help(field: FieldInfo) -> str:
    default = "" if field.is_required() or field.default is None else f" (default {field.default})"
    return f"{field.description or ''}{default}".replace("%", "%%")


def _is_media(field: FieldInfo) -> bool:
    extra = field.json_schema_extra
    return isinstance(extra, dict) and "contentEncoding" in extra


def _value(field: FieldInfo, text: str) -> Any:
    """A command-line word as JSON: media fields become data URLs, the rest what their type says."""
    if _is_media(field):
        data = sample(text.removeprefix("sample:")) if text.startswith("sample:") else Path(text).read_bytes()
        kind = mimetypes.guess_type(text)[0] or "application/octet-stream"
        return as_data_url(data, kind)
    if field.annotation is str or str in get_args(field.annotation):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _follow(url: str, body: dict[str, Any], key: str | None) -> dict[str, Any]:
    """Send the call, show its progress, and return the `result` event. Raises RuntimeError with the server's sentence."""
    headers = {"Accept": "text/event-stream"} | ({"Authorization": f"Bearer {key}"} if key else {})
    with httpx.stream("POST", url, json=body, headers=headers, timeout=httpx.Timeout(30, read=None)) as response:
        if response.status_code != 200:
            response.read()
            raise RuntimeError(f"{response.status_code}: {response.json()['error']}")
        bars: dict[str, tqdm[Any]] = {}
        for name, data in _events(response.iter_lines()):
            if name == "progress":
                stage = data["stage"]
                if stage not in bars:
                    bars[stage] = tqdm(total=data["total"] or None, desc=stage, unit="", disable=None)  # on a terminal only
                bars[stage].update(data["done"] - bars[stage].n)
            elif name == "problem":
                raise RuntimeError(f"{data['status']}: {data['error']}")
            elif name == "result":
                for bar in bars.values():
                    bar.close()
                return data
    raise RuntimeError("the server closed the stream without a result")


def _events(lines: Iterator[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    name = ""
    for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def _write(endpoint: Endpoint, result: dict[str, Any], output: Path | None, seconds: float) -> int:
    ending = result["content_type"].split("/")[1].replace("jpeg", "jpg")
    path = output or Path(f"{endpoint.name}.{ending}")
    media = base64.b64decode(result["media"])
    path.write_bytes(media)
    headers = result["headers"]
    print(f"{path}: {len(media):,} bytes, {result['content_type']}, in {seconds:.1f} s")
    print("  ".join(f"{name}: {value}" for name, value in headers.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
