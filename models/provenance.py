"""Signs finished media with C2PA Content Credentials, which say that a face was replaced and by what (spec: c2pa.org, through c2pa-python).

A place signs with its own certificate, or, until it has one, with a development certificate that is made at the first run. Validators then
call the file intact but its signer untrusted, which is what it is.
"""

import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock

from models.errors import NotConfigured

_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
_GENERATOR = {"name": "ryla-cluster", "version": "0.1.0"}
_DEV_DAYS = 365
_RENEW_DAYS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Signing:
    """How a place signs.

    certificate, key: PEM files of the place's chain (its own certificate first) and private key, P-256; neither for development ones.
    dev_folder: where those are kept. timestamp_url: a time-stamp authority (RFC 3161); None signs without a time stamp, offline.
    """

    certificate: Path | None = None
    key: Path | None = None
    dev_folder: Path = Path("var/c2pa")
    timestamp_url: str | None = None


class Sealer:
    """Signs files. Thread-safe."""

    def __init__(self, signing: Signing) -> None:
        """Raises NotConfigured for a certificate without its key, or one that cannot be read."""
        if (signing.certificate is None) != (signing.key is None):
            raise NotConfigured("RYLA_C2PA_CERTIFICATE and RYLA_C2PA_KEY go together: set both, or neither for a development certificate")
        self.name = "c2pa" if signing.certificate else "c2pa-development"
        certificate, key = _development(signing.dev_folder) if signing.certificate is None else (signing.certificate, signing.key)
        assert key is not None
        try:
            self._chain, self._key = certificate.read_bytes(), key.read_bytes()
        except OSError as error:
            raise NotConfigured(f"the C2PA certificate or key cannot be read ({error.strerror}): {error.filename}") from error
        self._timestamp_url = signing.timestamp_url
        self._sign(_smallest(), "image/png", _manifest({}))  # a bad key shows now, not at the first swap

    def seal(self, media: bytes, content_type: str, facts: Mapping[str, Any]) -> bytes:
        """The signed file; `facts` of the swap ("engine", "faces_swapped", "frames") go into it, nothing of the people does."""
        return self._sign(media, content_type, _manifest(facts))

    def _sign(self, media: bytes, content_type: str, manifest: str) -> bytes:
        import c2pa

        url = None if self._timestamp_url is None else self._timestamp_url.encode()
        try:
            info = c2pa.C2paSignerInfo(c2pa.C2paSigningAlg.ES256, self._chain, self._key, url)
            signed = io.BytesIO()
            with c2pa.Signer.from_info(info) as signer, c2pa.Builder(manifest, _context()) as builder:
                builder.sign(signer, content_type, io.BytesIO(media), signed)
        except c2pa.C2paError as error:
            raise NotConfigured(f"the result could not be signed with the place's C2PA certificate ({error})") from error
        return signed.getvalue()


@cache
def _context() -> Any:
    """Without thumbnails: they would be ten times the size of a small picture."""
    import c2pa

    return c2pa.Context.from_dict({"builder": {"thumbnail": {"enabled": False}}})


def _manifest(facts: Mapping[str, Any]) -> str:
    told = {name: facts[name] for name in ("engine", "frames", "faces_swapped") if name in facts}
    actions = [
        {"action": "c2pa.created", "digitalSourceType": _SOURCE_TYPE},
        {"action": "c2pa.edited", "description": "A face was replaced.", "parameters": told},
    ]
    return json.dumps({"claim_generator_info": [_GENERATOR], "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": actions}}]})


def _smallest() -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "PNG")
    return out.getvalue()


def _development(folder: Path) -> tuple[Path, Path]:
    """Chain and key for development, made where they are absent or about to expire. Safe with many processes on one node."""
    chain, key = folder / "development-chain.pem", folder / "development-key.pem"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "development.lock"):
        if not chain.exists() or not key.exists() or _expires_soon(chain):
            _make(chain, key)
    return chain, key


def _expires_soon(chain: Path) -> bool:
    from cryptography import x509

    return x509.load_pem_x509_certificates(chain.read_bytes())[0].not_valid_after_utc < datetime.now(UTC) + timedelta(days=_RENEW_DAYS)


def _make(chain: Path, key: Path) -> None:
    """A root of our own and a certificate for signing under it: C2PA wants no self-signed signer."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def subject(name: str) -> x509.Name:
        organisation = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "RYLA development")
        return x509.Name([organisation, x509.NameAttribute(NameOID.COMMON_NAME, name)])

    root_key, own_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    root, own = (
        x509.CertificateBuilder()
        .subject_name(subject(name))
        .issuer_name(subject("Root, trust nobody"))
        .public_key(holder.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=_DEV_DAYS))
        .add_extension(x509.BasicConstraints(ca=is_root, path_length=0 if is_root else None), critical=True)
        .add_extension(_usage(is_root), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(holder.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
        for name, holder, is_root in (("Root, trust nobody", root_key, True), ("Content Credentials, development", own_key, False))
    )
    own = own.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=True)
    pems = [one.sign(root_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM) for one in (own, root)]
    secret = own_key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with os.fdopen(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(secret)
    chain.write_bytes(b"".join(pems))


def _usage(is_root: bool) -> Any:
    from cryptography import x509

    nothing = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only"), False
    )
    return x509.KeyUsage(digital_signature=not is_root, key_cert_sign=is_root, crl_sign=is_root, **nothing)
