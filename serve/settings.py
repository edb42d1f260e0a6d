"""What differs from place to place, read once from the environment (prefix `RYLA_`) and passed on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from deployments.spec.safety_settings import SafetySettings

# USD per second, the published list of the present platform plus its CPU core; an operator's own cards have other rates.
LIST_RATES: Mapping[str, float] = {
    "T4": 0.000164,
    "L4": 0.000222,
    "A10": 0.000306,
    "L40S": 0.000542,
    "A100-40GB": 0.000583,
    "A100-80GB": 0.000694,
    "H100": 0.001097,
    "H200": 0.001261,
    "CPU": 0.0000131,
}


class Settings(SafetySettings):
    """Settings of one place. Frozen; every field can be set as `RYLA_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="RYLA_", frozen=True, extra="forbid")

    host: str = Field(default="127.0.0.1", description="Address the HTTP API binds to.")
    port: int = Field(default=8000, ge=1, le=65535)
    models: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Deployments to serve, comma-separated; empty serves all that are declared."
    )
    api_keys: Annotated[Mapping[str, str], NoDecode] = Field(
        default_factory=dict, description="Tenant by SHA-256 of its API key: `tenant=hex,tenant=hex`."
    )
    database_url: str = Field(
        default="sqlite:///var/jobs.db", description="Where jobs are kept; Postgres when there is more than one ingress."
    )
    compiled: bool = Field(
        default=False, description="Compile networks on GPUs: faster from the second call of each size on, and the first one slower."
    )
    weights_root: Path = Field(
        default=Path("var/weights"), description="Folder of verified checkpoints, or of the tiny ones that are built."
    )
    weights_mirror: str | None = Field(default=None, description="Mirror of the pinned checkpoints (s3://…, file://…); not given: the hub.")
    hub_token: str | None = Field(default=None, repr=False, description="Token for gated repositories on the hub.")
    grants: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Repositories with a non-commercial licence for which the operator holds a grant, comma-separated."
    )
    lora_root: str = Field(default="var/loras", description="Where uploaded LoRAs are kept: a folder, or a URL that fsspec knows (s3://…).")
    lora_cache: Path = Field(default=Path("var/lora-cache"), description="Folder on each node for LoRAs fetched from a remote lora_root.")
    lora_cache_bytes: int = Field(default=200_000_000_000, ge=0, description="Size of that folder; the last used are kept.")
    lora_ram_bytes: int = Field(default=8_000_000_000, ge=0, description="Memory of each replica for LoRAs beside those on its GPU.")
    max_lora_bytes: int = Field(default=2_000_000_000, ge=1_000)
    max_body_bytes: int = Field(default=300_000_000, ge=1_000_000)
    max_seconds: float = Field(default=1200.0, gt=0, description="Longest a call may take before its deadline passes.")
    rates: Mapping[str, float] = Field(default=LIST_RATES, description="USD per second by card, as a JSON object.")
    owned_cards: Mapping[str, float] = Field(
        default_factory=dict, description='How many cards the cluster owns, by name in `rates`, as a JSON object: {"L40S": 4}.'
    )
    operators: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Tenants that see every tenant's costs, comma-separated."
    )
    burst: Literal["off", "on"] = Field(default="off", description="Whether calls may run on the mirror when the cluster is late.")
    burst_after_s: float | None = Field(default=None, ge=0, description="A longer wait is late; not given: what each model declares.")
    burst_dwell_s: float = Field(default=30.0, ge=0, description="How long waits must stay short until bursting ends.")
    burst_calls: int = Field(default=16, ge=0, description="Calls that may be out at once, from all gateways.")
    burst_usd_per_call: float = Field(default=1.0, ge=0, description="What one burst may cost at most, in USD.")
    burst_usd_per_minute: float = Field(default=2.0, ge=0)
    burst_usd_per_day: float = Field(default=20.0, ge=0)
    burst_usd_per_tenant_day: float = Field(default=20.0, ge=0)
    fal_key: str | None = Field(default=None, repr=False, description="Key for fal, where SFW calls fall back to; not given: nowhere.")
    comfyui_url: str | None = Field(default=None, description="The legacy ComfyUI pod, where NSFW calls fall back to; not given: nowhere.")
    comfyui_token: str | None = Field(default=None, repr=False, description="Bearer token of the pod, if it asks for one.")
    comfyui_card: str = Field(default="L40S", description="The pod's card, by its name in `rates`.")
    fallback_s: float = Field(default=300.0, gt=0, description="Longest that a call may take at fal or on the pod.")
    fallback_request_s: float = Field(default=10.0, gt=0, description="Longest that one request to them may take.")
    fallback_silence_s: float = Field(default=20.0, gt=0, description="Longest that they may not answer while a call is out.")
    commercial: bool | None = Field(default=None, description="Refuse non-commercial weights; not given: true in the full profile.")
    serve_retired: bool = Field(default=True, description="Whether retired paths with a stand-in still answer, not 410.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @field_validator("models", "grants", "operators", mode="before")
    @classmethod
    def _names(cls, value: object) -> object:
        return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value

    @field_validator("api_keys", mode="before")
    @classmethod
    def _keys(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = [entry.partition("=") for entry in value.split(",") if entry.strip()]
        if any(len(digest.strip()) != 64 for _, _, digest in pairs):
            raise ValueError(
                "RYLA_API_KEYS must read tenant=<sha256 of the key, 64 hex digits>, comma-separated; `python -m serve.auth` makes one"
            )
        return {digest.strip().lower(): tenant.strip() for tenant, _, digest in pairs}

    @property
    def metrics_port(self) -> int:
        """Where the local cluster's metrics are scraped."""
        return self.port + 405

    @property
    def open_to_loopback(self) -> bool:
        """Whether callers need no key: only the tiny profile, only without keys, and then only callers from this machine."""
        return self.profile == "tiny" and not self.api_keys

    @property
    def refuses_non_commercial(self) -> bool:
        """Whether weights without a commercial licence are refused."""
        return self.profile == "full" if self.commercial is None else self.commercial
