"""Routes of paths that are gone: 410 with the reason and what to call instead."""

from collections.abc import Iterable

from fastapi import FastAPI, Response

from deployments.spec.endpoint import Retired
from models import errors


def add_retired(app: FastAPI, retired: Iterable[Retired]) -> None:
    """Add a route for each; the body is not read."""
    for gone in retired:
        _add(app, gone)


def _add(app: FastAPI, gone: Retired) -> None:
    async def handle() -> Response:
        raise errors.Retired(f"{gone.path} is retired: {gone.reason}; call {gone.replacement} instead", gone.replacement)

    name = gone.path.removeprefix("/")
    app.add_api_route(gone.path, handle, methods=["POST"], name=name, summary="Retired.", deprecated=True, tags=["retired"])
