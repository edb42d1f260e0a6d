"""Settings of consent, safety and provenance, which the cluster and its mirror share."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from models.provenance import Sealer, Signing
from models.runner import Profile
from models.safety import GateMode, SafetyRules


class SafetySettings(BaseSettings):
    """Each can be set as `RYLA_<NAME>`; a gate is off, auto (used where its weights are installed) or required."""

    model_config = SettingsConfigDict(env_prefix="RYLA_", frozen=True, extra="ignore")

    profile: Profile = "tiny"
    require_consent: bool | None = Field(
        default=None, description="Refuse face swaps without an attestation for each source face; not given: true in the full profile."
    )
    consenting_tenants: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Tenants whose contract attests consent for all their calls, comma-separated; recorded with each job."
    )
    face_gallery: Path = Field(default=Path("var/faces/gallery.json"), description="File of registered personas and blocked faces.")
    nsfw_gate: GateMode = Field(default="auto", description="Gate against real people's faces on targets that are not safe for work.")
    minor_gate: GateMode = Field(
        default="auto", description="Gate against faces of minors; none is shipped, so required refuses all swaps."
    )
    c2pa: bool = Field(default=True, description="Whether media with a swapped face are signed with Content Credentials.")
    c2pa_certificate: Path | None = Field(default=None, description="PEM chain to sign with; not given: a development certificate.")
    c2pa_key: Path | None = Field(default=None, repr=False, description="PEM private key (P-256) of that certificate.")
    c2pa_folder: Path = Field(default=Path("var/c2pa"), description="Where the development certificate is kept.")
    c2pa_timestamp_url: str | None = Field(default=None, description="Time-stamp authority (RFC 3161); not given: none is asked.")
    watermark: bool = Field(default=False, description="Whether frames with a swapped face carry an invisible mark.")

    @field_validator("consenting_tenants", mode="before")
    @classmethod
    def _tenants(cls, value: object) -> object:
        return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value

    @property
    def requires_consent(self) -> bool:
        """Whether a source face without an attestation is refused."""
        return self.profile == "full" if self.require_consent is None else self.require_consent

    @property
    def safety(self) -> SafetyRules:
        """The rules that runners are built with."""
        return SafetyRules(gallery=self.face_gallery, nsfw=self.nsfw_gate, minors=self.minor_gate, watermark=self.watermark)

    def sealer(self) -> Sealer | None:
        """What signs finished media; None where that is off."""
        if not self.c2pa:
            return None
        return Sealer(
            Signing(
                certificate=self.c2pa_certificate, key=self.c2pa_key, dev_folder=self.c2pa_folder, timestamp_url=self.c2pa_timestamp_url
            )
        )
