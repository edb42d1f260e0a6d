"""The wire between clients and the stand-in: it can refuse, fall silent, break, or be slow."""

import asyncio
from collections.abc import Sequence
from typing import Any

from grpclib.config import Configuration
from grpclib.protocol import H2Protocol
from grpclib.server import Server
from modal._utils.grpc_utils import custom_detail_codec
from modal_proto.api_grpc import ModalClientBase

WINDOW_BYTES = 64 * 1024 * 1024  # as the client's own; the default of 64 KiB would make large payloads slow
HOST = "127.0.0.1"


class Network:
    """A listening port in front of a servicer. All methods belong to the server's event loop."""

    def __init__(self) -> None:
        self.port = 0
        self.silent = False
        self.latency_s = 0.0
        self.transports: set[asyncio.Transport] = set()
        self._server: _Server | None = None
        self._listener: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    async def listen(self, servicers: Sequence[ModalClientBase]) -> None:
        """Bind a free port; later calls to `heal` bind the same one again."""
        self._server = _Server(self, servicers)
        await self._bind()

    async def _bind(self) -> None:
        assert self._server is not None
        self._listener = await asyncio.get_running_loop().create_server(self._server.protocol, HOST, self.port, backlog=1024)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Break all connections and stop listening: connects are refused."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self.break_all()

    def black_hole(self) -> None:
        """Accept connections and keep those there are, but neither read nor write another byte."""
        self.silent = True

    async def heal(self) -> None:
        """Work again. Connections that lost bytes meanwhile are broken."""
        if self.silent:
            self.silent = False
            self.break_all()
        if self._listener is None:
            await self._bind()

    def break_all(self) -> None:
        """Reset all connections."""
        for transport in list(self.transports):
            transport.abort()


class _Server(Server):
    def __init__(self, network: Network, servicers: Sequence[ModalClientBase]) -> None:
        config = Configuration(http2_connection_window_size=WINDOW_BYTES, http2_stream_window_size=WINDOW_BYTES)
        super().__init__(servicers, config=config, status_details_codec=custom_detail_codec)
        self._network = network

    def protocol(self) -> H2Protocol:
        inner = self._protocol_factory()
        return _Protocol(self._network, inner.handler, inner.config, inner.h2_config)


class _Protocol(H2Protocol):
    def __init__(self, network: Network, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._network = network
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._network.transports.add(transport)
        super().connection_made(_Pen(self._network, transport))

    def data_received(self, data: bytes) -> None:
        if self._network.silent:
            return
        if self._network.latency_s:
            asyncio.get_running_loop().call_later(self._network.latency_s, super().data_received, data)
        else:
            super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._transport is not None:
            self._network.transports.discard(self._transport)
        super().connection_lost(exc)


class _Pen:
    """A transport whose writes are lost while the network is silent."""

    def __init__(self, network: Network, transport: asyncio.Transport) -> None:
        self._network = network
        self._transport = transport

    def write(self, data: bytes) -> None:
        if not self._network.silent:
            self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
