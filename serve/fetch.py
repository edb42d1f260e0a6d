"""Fetching a file by a link that somebody else wrote: only from public addresses, within a size and a time, and only if it is media.

Every connection goes to an address that was checked a moment before, so neither a name that resolves to a private address, nor one that
resolves to another address the second time, nor a redirect leads inside. OWASP's Server-Side Request Forgery Prevention Cheat Sheet.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from ssl import SSLContext
from typing import Final, cast

import httpcore
import httpx

from models.errors import BadMedia
from models.media import Limits, sniff

MAX_LINK: Final = 4_000  # characters
ENOUGH_TO_SNIFF: Final = 64  # bytes
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
ADDRESSES_TRIED: Final = 3

GLOBAL_V6: Final = ipaddress.ip_network("2000::/3")
NAT64: Final = ipaddress.ip_network("64:ff9b::/96")  # an IPv4 address in its last 32 bits, on networks that speak IPv6 alone
# Taken for global, and yet no place for a stranger's link: Azure's and Oracle's agents of their hosts, relays of abandoned transition
# schemes, and addresses for documentation.
NOT_FOR_LINKS: Final = tuple(
    ipaddress.ip_network(net) for net in ("168.63.129.16/32", "192.0.0.0/24", "192.88.99.0/24", "2002::/16", "3fff::/20")
)

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
Allowed = Callable[[str], bool]


def is_public(address: str) -> bool:
    """Whether an IP address is one that anybody on the internet can reach: not private, loopback, link-local, metadata or reserved."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        if ip in NAT64:
            return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
        if ip not in GLOBAL_V6:
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved and not any(ip in net for net in NOT_FOR_LINKS)


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host. Raises OSError or UnicodeError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class NotPublic(Exception):
    """A host that has no address, or has one that is not public."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file and what it is, told by its first bytes."""

    data: bytes
    media_type: str


class Fetcher:
    """Fetches files.

    seconds: the longest that one may take, with all its redirects. redirects: the most that are followed. at_once: the most at a time.
    resolve, allowed: how names become addresses, and which of those may be connected to.
    """

    def __init__(
        self,
        *,
        seconds: float = 15.0,
        redirects: int = 3,
        at_once: int = 16,
        resolve: Resolve = resolve,
        allowed: Allowed = is_public,
    ) -> None:
        self._seconds = seconds
        self._redirects = redirects
        self._slots = asyncio.Semaphore(at_once)
        self._network = _PinnedNetwork(resolve, allowed)

    async def fetch(self, link: str, field: str, *, kinds: Collection[str], limits: Limits) -> Fetched:
        """The file behind `link`, if it is one of `kinds` (media types) and no larger than `limits` allow.

        Raises BadMedia, or TooLarge, naming `field`; what lies behind a refused address is never told.
        """
        try:
            async with asyncio.timeout(self._seconds), self._slots:
                return await self._follow(link, field, kinds, limits)
        except TimeoutError:
            raise BadMedia(f"{field}: the link gave no file within {self._seconds:g} s; send a link to a faster place") from None
        except (NotPublic, OSError, UnicodeError):
            raise BadMedia(f"{field}: the link's host has no public address; send a link that anybody on the internet can open") from None
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
            raise BadMedia(f"{field}: the link's host did not deliver the file ({type(error).__name__}); try another link") from None

    async def _follow(self, link: str, field: str, kinds: Collection[str], limits: Limits) -> Fetched:
        url = _checked(link, field)
        async with httpcore.AsyncConnectionPool(ssl_context=_tls(), network_backend=self._network, max_keepalive_connections=0) as pool:
            for _ in range(self._redirects + 1):
                target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
                async with pool.stream("GET", target, headers=_headers(url, kinds)) as response:
                    answered = httpx.Headers(response.headers)
                    if response.status not in REDIRECTS:
                        return await _read(response, answered, field, kinds, limits)
                    url = _redirected(url, answered.get("location"), field)
        raise BadMedia(f"{field}: the link is redirected more than {self._redirects} times; send the link where it ends")


class _PinnedNetwork(httpcore.AsyncNetworkBackend):
    """Resolves a host once a connection, refuses it unless all its addresses are allowed, and connects to one of those.

    TLS still checks the certificate against the host's name: that is the connection pool's part, not the network's.
    """

    def __init__(self, resolve: Resolve, allowed: Allowed) -> None:
        self._resolve = resolve
        self._allowed = allowed
        self._inner = cast(httpcore.AsyncNetworkBackend, httpcore.AnyIOBackend())

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to an allowed address of `host`. Raises NotPublic before any packet is sent."""
        addresses = await self._resolve(host, port)
        if not addresses or not all(self._allowed(address) for address in addresses):
            raise NotPublic
        failed: Exception = NotPublic()
        for address in addresses[:ADDRESSES_TRIED]:
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed


@cache
def _tls() -> SSLContext:
    return httpx.create_ssl_context()


def _headers(url: httpx.URL, kinds: Collection[str]) -> list[tuple[str | bytes, str | bytes]]:
    """No cookie, key or referrer."""
    return [("Host", url.netloc), ("User-Agent", "ryla-fetch"), ("Accept", ", ".join(kinds)), ("Accept-Encoding", "identity")]


def _checked(link: str, field: str) -> httpx.URL:
    if len(link) > MAX_LINK:
        raise BadMedia(f"{field}: the link has {len(link):,} characters; at most {MAX_LINK:,} are accepted")
    try:
        url = httpx.URL(link.strip())
    except (httpx.InvalidURL, UnicodeError):
        raise BadMedia(f"{field}: this is not a link; it must look like https://host/picture.png") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise BadMedia(f"{field}: only http and https links are fetched, got {url.scheme or 'no scheme'!r}")
    if url.userinfo:
        raise BadMedia(f"{field}: a link with a user name or password is not fetched; send one without")
    return url


def _redirected(url: httpx.URL, location: str | None, field: str) -> httpx.URL:
    if not location:
        raise BadMedia(f"{field}: the link is redirected to nowhere; send another")
    try:
        onward = url.join(location)
    except (httpx.InvalidURL, UnicodeError):
        raise BadMedia(f"{field}: the link is redirected to what is no link; send another") from None
    if url.scheme == "https" and onward.scheme == "http":
        raise BadMedia(f"{field}: the link is redirected from https to http, which is not followed; send the link where it ends")
    return _checked(str(onward), field)


async def _read(response: httpcore.Response, headers: httpx.Headers, field: str, kinds: Collection[str], limits: Limits) -> Fetched:
    if response.status != 200:
        raise BadMedia(f"{field}: the link's host answers {response.status}; send a link that anybody can open")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise BadMedia(f"{field}: the link's host sends the file compressed, which nobody asked for; send another link")
    declared = headers.get("content-length", "")
    if declared.isdigit():
        limits.check_bytes(int(declared), field)
    data = bytearray()
    async for chunk in response.aiter_stream():
        known = len(data) >= ENOUGH_TO_SNIFF
        data += chunk
        limits.check_bytes(len(data), field)
        if not known and len(data) >= ENOUGH_TO_SNIFF:
            _kind(data, field, kinds)
    return Fetched(bytes(data), _kind(data, field, kinds))


def _kind(data: bytearray, field: str, kinds: Collection[str]) -> str:
    media_type = sniff(bytes(data[: 4 * ENOUGH_TO_SNIFF]))
    if media_type is None or media_type not in kinds:
        raise BadMedia(f"{field}: behind the link is {media_type or 'no picture or clip'}; it must be one of {', '.join(sorted(kinds))}")
    return media_type
