"""API keys: only their SHA-256 is kept, and it is compared in constant time.

`python -m serve.auth TENANT` draws a key, prints it once, and prints the entry for `RYLA_API_KEYS`.
"""

import hashlib
import hmac
import ipaddress
import secrets
import sys

from models.errors import Unauthorized
from serve.settings import Settings

LOCAL_TENANT = "local"


def digest(key: str) -> str:
    """SHA-256 of an API key, in hex. Keys are 256 random bits, so no slow hash is needed."""
    return hashlib.sha256(key.encode()).hexdigest()


def tenant_of(settings: Settings, authorization: str | None, api_key: str | None, peer: str | None) -> str:
    """The tenant that calls, by `Authorization: Bearer …` or `X-Api-Key`.

    Without any configured key, the tiny profile lets callers from this machine in, and nobody else. Raises Unauthorized.
    """
    given = api_key or (authorization or "").removeprefix("Bearer ").removeprefix("Key ").strip()
    if given:
        found = [tenant for known, tenant in settings.api_keys.items() if hmac.compare_digest(known, digest(given))]
        if found:
            return found[0]
    if settings.open_to_loopback and _is_loopback(peer):
        return LOCAL_TENANT
    if not given:
        raise Unauthorized("no API key: send it as `Authorization: Bearer <key>` or `X-Api-Key: <key>`")
    raise Unauthorized("this API key is not known here; ask the operator for one")


def _is_loopback(peer: str | None) -> bool:
    try:
        return peer is not None and ipaddress.ip_address(peer).is_loopback
    except ValueError:
        return False


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m serve.auth TENANT")
    key = secrets.token_urlsafe(32)
    print(f"key (shown once): {key}\nRYLA_API_KEYS entry: {sys.argv[1]}={digest(key)}")
