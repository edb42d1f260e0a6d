"""Payloads too large for a message: created by RPC, carried over HTTP."""

import hashlib

from aiohttp import web
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from tests.modal_burst.loopback.network import HOST
from tests.modal_burst.loopback.rpc import Caller
from tests.modal_burst.loopback.state import State

MAX_BYTES = 1024**3


class Blobs:
    """A bucket with signed-looking URLs."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._runner: web.AppRunner | None = None
        self._url = ""

    async def open(self) -> None:
        """Serve the bucket on a free port."""
        app = web.Application(client_max_size=MAX_BYTES)
        app.router.add_put("/{blob}", self._put)
        app.router.add_get("/{blob}", self._get)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, HOST, 0)
        await site.start()
        self._url = f"http://{HOST}:{self._runner.addresses[0][1]}"

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def BlobCreate(self, request: api_pb2.BlobCreateRequest, _: Caller) -> api_pb2.BlobCreateResponse:
        blob = self._state.new_id("bl")
        return api_pb2.BlobCreateResponse(blob_ids=[blob], upload_urls=api_pb2.UploadUrlList(items=[f"{self._url}/{blob}"]))

    async def BlobGet(self, request: api_pb2.BlobGetRequest, _: Caller) -> api_pb2.BlobGetResponse:
        if request.blob_id not in self._state.blobs:
            raise GRPCError(Status.NOT_FOUND, f"no blob {request.blob_id!r}")
        return api_pb2.BlobGetResponse(download_url=f"{self._url}/{request.blob_id}")

    async def _put(self, request: web.Request) -> web.Response:
        data = await request.read()
        self._state.blobs[request.match_info["blob"]] = data
        return web.Response(headers={"ETag": f'"{hashlib.md5(data).hexdigest()}"'})

    async def _get(self, request: web.Request) -> web.Response:
        data = self._state.blobs.get(request.match_info["blob"])
        return web.Response(status=404) if data is None else web.Response(body=data)
