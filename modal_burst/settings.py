"""What differs from place to place: for the mirror, read where it is deployed and again in its containers; for its caller, the access."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from deployments.spec.safety_settings import SafetySettings
from models.runner import Profile


class MirrorSettings(SafetySettings):
    """Settings of the mirror, `RYLA_<NAME>` in the environment; the weights' ones mean what they mean on the cluster."""

    model_config = SettingsConfigDict(env_prefix="RYLA_", frozen=True, extra="ignore")

    mirror_app: str = Field(default="ryla-mirror", description="Name the mirror is deployed under.")
    weights_root: Path = Path("var/weights")
    weights_mirror: str | None = None
    hub_token: str | None = Field(default=None, repr=False)
    grants: Annotated[tuple[str, ...], NoDecode] = ()
    commercial: bool | None = None
    lora_root: str = "var/loras"
    lora_cache: Path = Path("var/lora-cache")
    lora_cache_bytes: int = 50_000_000_000
    lora_ram_bytes: int = 8_000_000_000
    mirror_secrets: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Names of Modal secrets for the containers, such as the key to the bucket of the LoRAs, comma-separated."
    )

    @field_validator("grants", "mirror_secrets", mode="before")
    @classmethod
    def _names(cls, value: object) -> object:
        return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value

    @property
    def refuses_non_commercial(self) -> bool:
        """Whether weights without a commercial licence are refused."""
        return self.profile == "full" if self.commercial is None else self.commercial


class BurstSettings(BaseSettings):
    """Access to the mirror, and the bounds of every wait. `RYLA_<NAME>`; the token as Modal's own tools know it, `MODAL_<NAME>`.

    max_containers: of each pool, however many calls there are: the last line of defence of the budget.
    """

    model_config = SettingsConfigDict(env_prefix="RYLA_", frozen=True, extra="ignore", populate_by_name=True)

    profile: Profile = "tiny"
    mirror_app: str = "ryla-mirror"
    mirror_environment: str | None = None
    lora_root: str = "var/loras"
    token_id: str | None = Field(default=None, validation_alias="MODAL_TOKEN_ID")
    token_secret: str | None = Field(default=None, repr=False, validation_alias="MODAL_TOKEN_SECRET")
    burst_max_containers: int = Field(default=4, ge=1)
    burst_idle_s: int = Field(default=10, ge=2, le=3600, description="How long an idle container is kept, and paid.")
    burst_request_s: float = Field(default=10.0, gt=0, description="Longest that one request to the platform may take.")
    burst_silence_s: float = Field(default=20.0, gt=0, description="Longest that a running call may say nothing.")
    burst_ping_s: float = Field(default=5.0, gt=0, description="How often the line is tried while calls are out.")
    burst_reconnect_s: float = Field(default=30.0, gt=0, description="Longest pause between two tries to connect.")
