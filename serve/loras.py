"""The registry of LoRAs: a table beside the jobs, and the files by their hash.

Callers only ever send names. The ingress turns a name into a file's hash, so that replicas and the mirror ask no database.
"""

import asyncio
import contextlib
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

from sqlalchemy import Column, Float, Integer, String, Table, delete, func, insert, select
from sqlalchemy.engine import Engine
from sqlalchemy.exc import IntegrityError

from deployments.spec.deployment import Deployment
from deployments.spec.endpoint import Plan, Stage
from deployments.spec.lora import HOUSE_ROLE, ID_PREFIX
from models.errors import BadRequest, Conflict, Forbidden, LoraRejected, NotConfigured, NotFound, ReplicaLost
from models.lora.base import Base
from models.lora.files import LoraFiles, sha256
from models.lora.header import read_header
from models.task import LoraUse, TextToImage, TextToVideo
from serve.affinity import affinity_of
from serve.jobs import metadata

SHARED: Final = ""  # the tenant of LoRAs that everybody sees
MAX_EACH: Final = 1000  # LoRAs a tenant may keep
CHECK_S: Final = 120.0  # longest that reading one upload may take
WAKE_S: Final = 120.0  # longest wait for a model that has never been up
Wake: TypeAlias = Callable[[str], Awaitable[object]]

# What training calls a character's LoRA, by family and plain.
ID_NAMES: Final = ("character-{}", "flux-character-{}", "qwen-character-{}", "wan-character-{}", "z-image-character-{}")

log = logging.getLogger("ryla.loras")

loras = Table(
    "loras",
    metadata,
    Column("tenant", String(80), primary_key=True),
    Column("name", String(120), primary_key=True),
    Column("base", String(80), nullable=False),
    Column("rank", Integer, nullable=False),
    Column("sha256", String(64), nullable=False, index=True),
    Column("bytes", Integer, nullable=False),
    Column("trigger_word", String(200), nullable=False),
    Column("licence", String(80), nullable=False),
    Column("created_at", Float, nullable=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewLora:
    """What is said of a LoRA when it is brought. base: the deployment it was trained for."""

    name: str
    base: str
    trigger_word: str = ""
    licence: str = "unknown"


class Loras:
    """The registry. `served` are the deployments of this place, by name; `wake` returns when one of them is up."""

    def __init__(
        self, engine: Engine, files: LoraFiles, served: Mapping[str, Deployment], max_bytes: int, wake: Wake | None = None
    ) -> None:
        self.max_bytes = max_bytes
        self._wake = wake
        self._engine = engine
        self._files = files
        self._bases = {name: declared for name, declared in served.items() if declared.lora_slots}
        self._served = served
        metadata.create_all(engine, [loras])

    async def listed(self, tenant: str) -> list[dict[str, Any]]:
        """The LoRAs that `tenant` may name: its own, those that are shared, and those that ship with a model."""
        house = [
            {"name": role.removeprefix(HOUSE_ROLE), "path": role.removeprefix(HOUSE_ROLE), "base": base, "shared": True}
            for base, declared in self._bases.items()
            for role in declared.weights
            if role.startswith(HOUSE_ROLE)
        ]
        rows = await asyncio.to_thread(self._rows, loras.c.tenant.in_([tenant, SHARED]))
        return house + [_shown(row) for row in rows]

    async def add(self, new: NewLora, file: Path, tenant: str) -> tuple[dict[str, Any], bool]:
        """Take in a LoRA; says whether it is new. Raises LoraRejected, TooLarge, BadRequest, Conflict."""
        base = await self._base(new)
        return await asyncio.to_thread(self._add, new, file, tenant, base)

    async def remove(self, name: str, tenant: str) -> None:
        """Forget a LoRA of `tenant`, and its file when nobody else names it. Raises NotFound, or Forbidden for a shared one."""
        await asyncio.to_thread(self._remove, name.lower(), tenant)

    async def resolve(self, plan: Plan, tenant: str) -> Plan:
        """`plan` with every LoRA found and every stage's affinity set. Raises NotFound naming what was tried, and NotConfigured."""
        stages: list[Stage] = []
        names: list[str] = []
        for stage in plan.stages:
            task, declared = stage.task, self._served.get(stage.deployment)
            if declared is None:  # an endpoint that chooses its models may choose one of these
                raise NotConfigured(f"the model {stage.deployment!r} is not served here; served are {', '.join(self._served)}")
            if isinstance(task, TextToImage | TextToVideo) and task.loras:
                found = [await asyncio.to_thread(self._find, use, declared, tenant) for use in task.loras]
                uses = tuple(use for use, _ in found)
                names += [use.name for use in uses]
                task = replace(task, loras=uses, prompt=_triggered(task.prompt, [word for _, word in found]))
            stages.append(replace(stage, task=task, affinity=affinity_of(task, declared)))
        facts = plan.facts | ({"lora": ",".join(names), "lora_used": ",".join(f"{name}.safetensors" for name in names)} if names else {})
        return replace(plan, stages=tuple(stages), facts=facts)

    def _find(self, use: LoraUse, declared: Deployment, tenant: str) -> tuple[LoraUse, str]:
        """The LoRA as replicas know it, and its trigger word."""
        if HOUSE_ROLE + use.name in declared.weights:
            return use, ""
        asked = use.name.lower()
        tried = [form.format(asked.removeprefix(ID_PREFIX)) for form in ID_NAMES] if asked.startswith(ID_PREFIX) else [asked]
        rows = self._rows(loras.c.name.in_(tried) & loras.c.tenant.in_([tenant, SHARED]))
        fitting = [row for row in rows if row["base"] == declared.name]
        if not fitting:
            others = "".join(f"; {row['name']} is for {row['base']}, this endpoint runs {declared.name}" for row in rows[:1])
            raise NotFound(f"LoRA not found: {', '.join(tried)}{others}. GET /loras lists yours, POST /loras adds one")
        row = min(fitting, key=lambda row: (tried.index(row["name"]), row["tenant"] == SHARED))
        return LoraUse(row["name"], use.strength, row["sha256"]), row["trigger_word"]

    def _add(self, new: NewLora, file: Path, tenant: str, base: Base) -> tuple[dict[str, Any], bool]:
        header = read_header(file, self.max_bytes)
        if header.rank > base.rank:
            raise LoraRejected(f"its rank is {header.rank}, {new.base} takes at most {base.rank}; resize it with your trainer's tool")
        digest = sha256(file)
        known = self._named(new, digest, tenant)
        if known is not None:  # brought again, perhaps because the file was lost or damaged where it lay
            self._files.put(file, digest, again=True)
            return _shown(known), False
        facts = checked(file, base)
        self._files.put(file, digest)
        row = {
            "tenant": tenant,
            "name": new.name.lower(),
            "base": new.base,
            "rank": facts["rank"],
            "sha256": digest,
            "bytes": file.stat().st_size,
            "trigger_word": new.trigger_word,
            "licence": new.licence,
            "created_at": time.time(),
        }
        try:
            with self._engine.begin() as connection:
                connection.execute(insert(loras).values(**row))
            self._files.put(file, digest)  # again, in case the last other name of these bytes was deleted meanwhile
        except IntegrityError:  # another upload of the same name was quicker
            known = self._named(new, digest, tenant)
            assert known is not None, "the row that was in the way is there, and has the same bytes or raises Conflict"
            return _shown(known), False
        return _shown(row), True

    async def _base(self, new: NewLora) -> Base:
        """What the LoRA must fit. A model that sleeps is woken for it: replicas write their layers down when they start."""
        if new.base not in self._bases:
            raise BadRequest(f"base must be one of {', '.join(sorted(self._bases)) or 'no model served here'}; got {new.base!r}")
        if HOUSE_ROLE + new.name in self._bases[new.base].weights:
            raise Conflict(f"{new.name!r} ships with {new.base}; choose another name")
        base = await asyncio.to_thread(self._files.base, new.base)
        if base is None and self._wake is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake(new.base), WAKE_S)
            base = await asyncio.to_thread(self._files.base, new.base)
        if base is None:
            raise ReplicaLost(f"{new.base} has not been up yet, so nothing is known of what fits it; /ready says when it is", 10.0)
        return base

    def _named(self, new: NewLora, digest: str, tenant: str) -> dict[str, Any] | None:
        """The tenant's row of this name and these bytes. Raises Conflict for other bytes."""
        rows = self._rows((loras.c.name == new.name.lower()) & (loras.c.tenant == tenant))
        if rows and (rows[0]["sha256"], rows[0]["base"]) != (digest, new.base):
            raise Conflict(f"a LoRA named {new.name!r} exists with other bytes or another base; delete it first, or choose another name")
        with self._engine.connect() as connection:
            count = connection.execute(select(func.count()).where(loras.c.tenant == tenant)).scalar_one()
        if not rows and count >= MAX_EACH:
            raise Forbidden(f"you keep {count} LoRAs, which is the limit; delete some first")
        return rows[0] if rows else None

    def _remove(self, name: str, tenant: str) -> None:
        with self._engine.begin() as connection:
            mine = (loras.c.name == name) & (loras.c.tenant == tenant)
            digest = connection.execute(select(loras.c.sha256).where(mine)).scalar()
            if digest is None:
                shared = connection.execute(select(loras.c.name).where((loras.c.name == name) & (loras.c.tenant == SHARED))).scalar()
                raise Forbidden(f"{name!r} is shared; the operator removes it") if shared else NotFound(f"LoRA not found: {name}")
            connection.execute(delete(loras).where(mine))
            last = connection.execute(select(loras.c.name).where(loras.c.sha256 == digest)).first() is None
        if last:
            self._files.remove(digest)

    def _rows(self, condition: Any) -> list[dict[str, Any]]:
        with self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(select(loras).where(condition).order_by(loras.c.name)).mappings()]


def checked(file: Path, base: Base) -> dict[str, int]:
    """Rank and layers of a LoRA after conversion, read in a process of its own. Raises LoraRejected."""
    with tempfile.TemporaryDirectory() as folder:
        described = Path(folder) / "base.json"
        described.write_text(base.to_json())
        command = [sys.executable, "-m", "models.lora.check", str(file), str(described)]
        quiet = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
        try:
            done = subprocess.run(command, env=quiet, capture_output=True, timeout=CHECK_S, check=False)
        except subprocess.TimeoutExpired:
            raise LoraRejected(f"reading this LoRA took longer than {CHECK_S:.0f} s") from None
    if done.returncode != 0:
        log.error("reading an uploaded LoRA ended with %d: %s", done.returncode, done.stderr.decode(errors="replace"))
        raise LoraRejected("this LoRA could not be read: the process that tried it broke down; the operator finds why in the log")
    answer = json.loads(done.stdout.decode().strip().rpartition("\n")[2])
    if "error" in answer:
        raise LoraRejected(answer["error"])
    return answer


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """What callers see of a row; `path` is the name, under which present callers look for it."""
    shown = {name: row[name] for name in ("name", "base", "rank", "bytes", "sha256", "trigger_word", "licence", "created_at")}
    return shown | {"path": row["name"], "shared": row["tenant"] == SHARED}


def _triggered(prompt: str, words: list[str]) -> str:
    """`prompt` with the LoRAs' own trigger words before it, except those that it has."""
    missing = [word for word in words if word and word.lower() not in prompt.lower()]
    return " ".join([*missing, prompt])
