"""What the guard lets through: a table of addresses, and a loopback server that redirects, trickles and lies."""

import asyncio
import datetime
import gzip
import io
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from PIL import Image as PilImage

from models.errors import BadMedia, TooLarge
from models.media import Limits
from serve import fetch
from serve.fetch import Fetcher, is_public

KINDS = ("image/png", "image/jpeg")
LIMITS = Limits(max_bytes=100_000)

PUBLIC = ("8.8.8.8", "1.1.1.1", "::ffff:8.8.8.8", "2001:4860:4860::8888", "64:ff9b::808:808")
INSIDE = {
    "loopback": ("127.0.0.1", "127.255.255.254", "::1", "0.0.0.0", "::"),
    "private": ("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "fc00::1", "fd12::1", "fec0::1"),
    "link-local": ("169.254.1.1", "fe80::1", "fe80::1%eth0"),
    "metadata": ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
    "reserved": (
        "192.0.2.1",
        "198.18.0.1",
        "198.51.100.7",
        "203.0.113.7",
        "240.0.0.1",
        "255.255.255.255",
        "2001:db8::1",
        "3fff::1",
        "100::1",
    ),
    "multicast": ("224.0.0.1", "239.1.1.1", "ff02::1"),
    "mapped": ("::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:a00:1"),
    "embedded": (
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::7f00:1",
        "2002:7f00:1::",
        "2001:0:1::1",
        "192.88.99.1",
    ),
    "nonsense": ("", "localhost", "127.1", "999.1.1.1"),
}


def png() -> bytes:
    buffer = io.BytesIO()
    PilImage.fromarray(np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


PICTURE = png()


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_pass(address):
    assert is_public(address)


@pytest.mark.parametrize("address", [address for group in INSIDE.values() for address in group])
def test_no_address_inside_passes(address):
    assert not is_public(address)


class Site:
    """A loopback server whose paths answer as they are told; hosts resolve to it unless `names` says otherwise."""

    def __init__(self) -> None:
        self.pages: dict[str, Callable[[asyncio.StreamWriter], Awaitable[None]]] = {}
        self.asked: list[str] = []
        self.names: dict[str, list[list[str]]] = {}  # answers of the resolver, one after the other
        self.resolved: list[str] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        path = head.split()[1]
        self.asked.append(head)
        try:
            await self.pages[path](writer)
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def resolve(self, host: str, port: int) -> list[str]:
        self.resolved.append(host)
        answers = self.names.get(host, [["203.0.113.7"]])
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def page(self, path: str, body: bytes, status: int = 200, **headers: str) -> None:
        async def answer(writer: asyncio.StreamWriter) -> None:
            fields = {"Content-Length": str(len(body))} | {name.replace("_", "-"): value for name, value in headers.items()}
            head = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
            writer.write("\r\n".join(head).encode() + body)

        self.pages[path] = answer

    def url(self, path: str, host: str = "media.test") -> str:
        return f"http://{host}:{self.port}{path}"


@asynccontextmanager
async def site_of(tls: ssl.SSLContext | None = None) -> AsyncIterator[Site]:
    site = Site()
    server = await asyncio.start_server(site.serve, "127.0.0.1", 0, ssl=tls)
    site.port = server.sockets[0].getsockname()[1]
    site.names["media.test"] = [["127.0.0.1"]]
    async with server:
        yield site


def fetcher(site: Site, **options) -> Fetcher:
    """One that takes the loopback for a public address, and nothing else that is inside."""
    return Fetcher(**{"resolve": site.resolve, "allowed": lambda a: a == "127.0.0.1" or is_public(a), "seconds": 5.0} | options)


async def refused(site: Site, link: str, says: str, error=BadMedia, **options) -> None:
    with pytest.raises(error, match=says) as caught:
        await fetcher(site, **options).fetch(link, "referenceImageUrl", kinds=KINDS, limits=LIMITS)
    assert "referenceImageUrl" in caught.value.message


async def test_a_picture_is_fetched_and_known_by_its_bytes():
    async with site_of() as site:
        site.page("/a.png?b=c", PICTURE, Content_Type="text/html")
        found = await fetcher(site).fetch(site.url("/a.png?b=c"), "referenceImageUrl", kinds=KINDS, limits=LIMITS)
    assert (found.data, found.media_type) == (PICTURE, "image/png")
    head = site.asked[0].lower()
    assert f"host: media.test:{site.port}" in head
    assert "cookie" not in head
    assert "authorization" not in head


@pytest.mark.parametrize(
    "link", ["ftp://a.test/x", "file:///etc/passwd", "gopher://a.test", "data:image/png;base64,AA", "/x", "", "http://"]
)
async def test_only_http_links(link):
    async with site_of() as site:
        await refused(site, link, "only http and https|not a link")
    assert site.resolved == []


@pytest.mark.parametrize(
    "link", ["http://user:pass@media.test/", "http://me@media.test/", "http://media.test/" + "a" * 5000, "http://[::1"]
)
async def test_odd_links_are_refused_before_anything_is_resolved(link):
    async with site_of() as site:
        await refused(site, link, "user name|characters|not a link")
    assert site.resolved == []


@pytest.mark.parametrize("group", [name for name in INSIDE if name != "nonsense"])
async def test_names_that_resolve_inside_are_refused_and_nothing_is_sent(group):
    async with site_of() as site:
        for address in INSIDE[group]:
            if address != "127.0.0.1":  # the one that this test's guard allows
                site.names["evil.test"] = [[address]]
                await refused(site, site.url("/a.png", "evil.test"), "no public address")
    assert site.asked == []


async def test_a_name_with_one_address_inside_is_refused_whatever_the_others_are():
    async with site_of() as site:
        site.names["evil.test"] = [["127.0.0.1", "10.0.0.1"]]
        await refused(site, site.url("/a.png", "evil.test"), "no public address")
    assert site.asked == []


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]"]
)
async def test_the_real_resolver_and_the_real_rule_refuse_every_spelling_of_this_machine(host):
    async with site_of() as site:
        site.page("/a.png", PICTURE)
        with pytest.raises(BadMedia, match=r"no public address|not a link"):
            await Fetcher(seconds=5.0).fetch(site.url("/a.png", host), "referenceImageUrl", kinds=KINDS, limits=LIMITS)
    assert site.asked == []


async def test_an_address_that_changes_between_two_looks_helps_nobody():
    """DNS rebinding: the address that was checked is the one that is connected to, so the name is asked once."""
    async with site_of() as site:
        site.page("/a.png", PICTURE)
        site.names["rebind.test"] = [["127.0.0.1"], ["169.254.169.254"]]
        found = await fetcher(site).fetch(site.url("/a.png", "rebind.test"), "referenceImageUrl", kinds=KINDS, limits=LIMITS)
    assert found.data == PICTURE
    assert site.resolved == ["rebind.test"]


async def test_redirects_are_followed_to_public_addresses_only():
    async with site_of() as site:
        site.page("/a.png", PICTURE)
        site.page("/moved", b"", 302, Location="/a.png")
        site.page("/inside", b"", 302, Location=site.url("/a.png", "evil.test"))
        site.page("/metadata", b"", 307, Location="http://169.254.169.254/latest/meta-data/")
        site.page("/file", b"", 301, Location="file:///etc/passwd")
        site.page("/nowhere", b"", 301)
        site.page("/loop", b"", 302, Location="/loop")
        site.names["evil.test"] = [["10.0.0.1"]]
        site.names["169.254.169.254"] = [["169.254.169.254"]]
        found = await fetcher(site).fetch(site.url("/moved"), "referenceImageUrl", kinds=KINDS, limits=LIMITS)
        assert found.data == PICTURE
        await refused(site, site.url("/inside"), "no public address")
        await refused(site, site.url("/metadata"), "no public address")
        await refused(site, site.url("/file"), "only http and https")
        await refused(site, site.url("/nowhere"), "to nowhere")
        await refused(site, site.url("/loop"), "more than 3 times")


async def test_sizes_are_bounded_whether_told_or_not():
    large = PICTURE[:64] + bytes(200_000)

    async def untold(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 X\r\nConnection: close\r\n\r\n" + large)

    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(10_000):
            writer.write(b"1000\r\n" + large[:4096] + b"\r\n")
            await writer.drain()

    async with site_of() as site:
        site.page("/told", large)
        site.pages |= {"/untold": untold, "/endless": endless}
        for path in ("/told", "/untold", "/endless"):
            await refused(site, site.url(path), "at most", TooLarge)


async def test_what_is_no_picture_is_refused_at_its_first_bytes():
    sent = 0

    async def slow_page(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 X\r\nContent-Length: 90000\r\n\r\n" + b"<html>" + b"x" * 100)
        await writer.drain()
        await asyncio.sleep(0.5)
        sent = 1

    async with site_of() as site:
        site.pages["/page"] = slow_page
        await refused(site, site.url("/page"), "no picture or clip")
        assert sent == 0
        site.page("/gif", b"GIF89a" + bytes(100))
        await refused(site, site.url("/gif"), "image/gif; it must be one of image/jpeg, image/png")
        site.page("/empty", b"")
        await refused(site, site.url("/empty"), "no picture or clip")
        site.page("/zipped", gzip.compress(PICTURE), Content_Encoding="gzip")
        await refused(site, site.url("/zipped"), "compressed")
        site.page("/gone", PICTURE, 404)
        await refused(site, site.url("/gone"), "answers 404")


async def test_time_is_bounded_while_resolving_and_while_reading():
    async def trickle(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 X\r\nContent-Length: 90000\r\n\r\n" + PICTURE[:70])
        for _ in range(100):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    async def never(host: str, port: int) -> list[str]:
        await asyncio.sleep(60)
        return []

    async with site_of() as site:
        site.pages["/slow"] = trickle
        await refused(site, site.url("/slow"), "within 0.4 s", seconds=0.4)
        await refused(site, site.url("/slow"), "within 0.4 s", seconds=0.4, resolve=never)


async def test_hosts_that_hang_up_or_speak_no_http_are_told_of():
    async def rubbish(writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n")

    async def cut(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 X\r\nContent-Length: 90000\r\n\r\n" + PICTURE[:100])

    async with site_of() as site:
        site.pages |= {"/rubbish": rubbish, "/cut": cut}
        for path in ("/rubbish", "/cut"):
            await refused(site, site.url(path), "did not deliver")
        closed = site.port
    with pytest.raises(BadMedia, match="did not deliver"):
        await fetcher(site).fetch(f"http://media.test:{closed}/", "referenceImageUrl", kinds=KINDS, limits=LIMITS)


def certificate(folder, host: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's and the client's side of a certificate for one host."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    pem.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    return server, ssl.create_default_context(cafile=pem)


@pytest.mark.parametrize(("named", "works"), [("media.test", True), ("other.test", False)])
async def test_certificates_are_checked_against_the_name_though_the_connection_goes_to_an_address(tmp_path, monkeypatch, named, works):
    server, client = certificate(tmp_path, named)
    monkeypatch.setattr(fetch, "_tls", lambda: client)
    async with site_of(server) as site:
        site.page("/a.png", PICTURE)
        link = f"https://media.test:{site.port}/a.png"
        if works:
            assert (await fetcher(site).fetch(link, "referenceImageUrl", kinds=KINDS, limits=LIMITS)).data == PICTURE
            site.page("/down", b"", 302, Location=site.url("/a.png"))
            await refused(site, f"https://media.test:{site.port}/down", "from https to http")
        else:
            await refused(site, link, "did not deliver")
