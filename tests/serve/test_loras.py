"""The registry and its routes, on real files and a real database, without a cluster."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from deployments import deployments
from deployments.spec.endpoint import Plan, Stage
from models.errors import LoraRejected, NotFound, RylaError
from models.lora.base import Base
from models.lora.check import check
from models.lora.files import LoraFiles
from models.media import Encoding
from models.task import LoraUse, TextToImage
from serve import shared_loras
from serve.jobs import Jobs
from serve.lora_routes import add_lora_routes
from serve.loras import SHARED, Loras, NewLora, checked
from serve.problems import problem
from tests.models.lora.making import peft, save

LAYERS = {"transformer.blocks.0.attn1.to_q": (32, 32), "transformer.blocks.0.ffn.net.2": (32, 64)}
BASE = Base("WanLoraLoaderMixin", LAYERS, 16)
FLUX, WAN = deployments()["flux-dev"], replace(deployments()["wan-t2v"], lora_slots=2)
SERVED = {"flux-dev": FLUX, "wan-t2v": WAN}


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uploads are read in a process of their own, which takes seconds to start; the tests of the registry read them here."""
    monkeypatch.setattr("serve.loras.checked", check)


@pytest.fixture
def files(tmp_path: Path) -> LoraFiles:
    files = LoraFiles(str(tmp_path / "loras"), tmp_path / "cache", 10**9)
    for name in SERVED:
        files.publish_base(name, BASE)
    return files


@pytest.fixture
def registry(tmp_path: Path, files: LoraFiles) -> Loras:
    return Loras(Jobs(f"sqlite:///{tmp_path}/jobs.db").engine, files, SERVED, 1_000_000)


@pytest.fixture
def client(registry: Loras) -> Iterator[TestClient]:
    app = FastAPI()
    add_lora_routes(app, registry, lambda http: http.headers["x-tenant"])

    @app.exception_handler(RylaError)
    async def _(_: Request, error: Exception) -> object:
        return problem(error)

    with TestClient(app, headers={"x-tenant": "a"}) as client:
        yield client


def lora(tmp_path: Path, seed: int = 0, **how) -> bytes:
    return save(peft(LAYERS, seed=seed, **how), tmp_path / "made.safetensors").read_bytes()


def test_an_upload_is_read_in_a_process_of_its_own(tmp_path: Path):
    file = tmp_path / "x.safetensors"
    file.write_bytes(lora(tmp_path))
    assert checked(file, BASE) == {"rank": 4, "layers": 2}
    save(peft({"transformer.blocks.0.attn1.to_q": (8, 8)}), file)
    with pytest.raises(LoraRejected, match="32 → 32"):
        checked(file, BASE)


async def known(registry: Loras, tmp_path: Path, name: str, tenant: str = "a", base: str = "wan-t2v", seed: int = 0, word: str = "") -> str:
    file = tmp_path / f"{name}.safetensors"
    file.write_bytes(lora(tmp_path, seed))
    entry, _ = await registry.add(NewLora(name=name, base=base, trigger_word=word), file, tenant)
    return entry["sha256"]


def plan(*uses: LoraUse, deployment: str = "wan-t2v", prompt: str = "a fox") -> Plan:
    task = TextToImage(seed=1, prompt=prompt, width=64, height=64, steps=1, guidance=1.0, loras=uses)
    return Plan(stages=(Stage(deployment, task),), encoding=Encoding(format="png"), units=(1.0,))


def test_a_lora_comes_in_is_listed_and_goes(client: TestClient, files: LoraFiles, tmp_path: Path):
    content = lora(tmp_path)
    form = {"name": "My-Style.safetensors", "base": "wan-t2v", "trigger_word": "sks"}
    made = client.post("/loras", data=form, files={"file": ("x.safetensors", content)})
    assert made.status_code == 201, made.text
    assert (made.json()["name"], made.json()["rank"], made.json()["bytes"]) == ("my-style", 4, len(content))
    again = client.post("/loras", params=form, content=content)  # the same, as a raw body
    assert (again.status_code, again.json()) == (200, made.json())
    listed = client.get("/loras").json()
    assert {"my-style", "flux-realism-lora"} == {entry["path"] for entry in listed["loras"]}
    assert listed["count"] == 2
    assert "/" not in str(listed), "paths of files stay inside"
    assert client.get("/loras", headers={"x-tenant": "b"}).json()["count"] == 1
    assert client.delete("/loras/my-style", headers={"x-tenant": "b"}).status_code == 404
    assert client.delete("/loras/My-Style").status_code == 204
    assert client.delete("/loras/my-style").status_code == 404
    with pytest.raises(NotFound):
        files.local(made.json()["sha256"])


@pytest.mark.parametrize("lost", ["gone", "damaged"])
def test_a_lora_whose_file_was_lost_works_again_once_it_is_brought_again(client: TestClient, files: LoraFiles, tmp_path: Path, lost: str):
    content, where = lora(tmp_path), {"name": "x", "base": "wan-t2v"}
    digest = client.post("/loras", params=where, content=content).json()["sha256"]
    stored = tmp_path / "loras" / f"{digest}.safetensors"
    stored.write_bytes(b"x" * len(content)) if lost == "damaged" else stored.unlink()
    with pytest.raises(RylaError, match="deleted" if lost == "gone" else "upload it again"):
        files.local(digest)
    assert client.post("/loras", params=where, content=content).status_code == 200
    path, _ = files.local(digest)
    assert path.read_bytes() == content


def test_what_cannot_be_used_is_refused_and_leaves_nothing(client: TestClient, tmp_path: Path):
    good = lora(tmp_path)
    wrong_base = save(peft({"transformer.blocks.0.attn1.to_q": (8, 8)}), tmp_path / "w").read_bytes()
    cases: dict[str, tuple[dict[str, str], bytes, int, str]] = {
        "no name": ({"name": ""}, good, 400, "name"),
        "a path": ({"name": "../../etc/passwd"}, good, 400, "name"),
        "a link": ({"name": "https://example.com/x"}, good, 400, "name"),
        "unknown field": ({"rnak": "4"}, good, 400, "rnak"),
        "unknown base": ({"base": "nonsense"}, good, 400, "flux-dev, wan-t2v"),
        "a pickle": ({}, b"\x80\x02}q\x00." * 10, 400, "safetensors"),
        "empty": ({}, b"", 400, "safetensors"),
        "too large": ({}, bytes(1_000_001), 413, "1,000,000"),
        "rank": ({}, lora(tmp_path, rank=17), 400, "rank is 17"),
        "another base": ({}, wrong_base, 400, "32 → 32"),
        "ships with the model": ({"name": "flux-realism-lora", "base": "flux-dev"}, good, 409, "ships"),
    }
    for case, (changes, content, status, says) in cases.items():
        reply = client.post("/loras", params={"name": "x", "base": "wan-t2v"} | changes, content=content)
        assert (reply.status_code, says in reply.text) == (status, True), f"{case}: {reply.status_code} {reply.text}"
        assert "Traceback" not in reply.text
    assert client.post("/loras", data={"name": "x", "base": "wan-t2v"}, files={"other": ("x", b"")}).status_code == 400
    assert client.get("/loras").json()["count"] == 1


def test_a_name_stands_for_the_same_bytes_until_it_is_deleted(client: TestClient, tmp_path: Path):
    where = {"name": "x", "base": "wan-t2v"}
    assert client.post("/loras", params=where, content=lora(tmp_path, 1)).status_code == 201
    assert client.post("/loras", params=where, content=lora(tmp_path, 2)).status_code == 409
    assert client.post("/loras", params=where, content=lora(tmp_path, 2), headers={"x-tenant": "b"}).status_code == 201
    assert client.delete("/loras/x").status_code == 204
    assert client.post("/loras", params=where, content=lora(tmp_path, 2)).status_code == 201


async def test_names_become_hashes_and_the_plan_gets_an_affinity(registry: Loras, tmp_path: Path):
    digest = await known(registry, tmp_path, "style")
    resolved = await registry.resolve(plan(LoraUse("STYLE", 0.5)), "a")
    assert resolved.stages[0].task.loras == (LoraUse("style", 0.5, digest),)
    assert resolved.stages[0].affinity == digest[:16]
    assert resolved.facts["lora"] == "style"
    assert (await registry.resolve(plan(), "a")).stages[0].affinity is None


async def test_affinity_does_not_depend_on_order_or_strength(registry: Loras, tmp_path: Path):
    for seed, name in enumerate(("one", "two")):
        await known(registry, tmp_path, name, seed=seed)
    first = await registry.resolve(plan(LoraUse("one"), LoraUse("two")), "a")
    second = await registry.resolve(plan(LoraUse("two", 0.3), LoraUse("one")), "a")
    assert first.stages[0].affinity == second.stages[0].affinity


@pytest.mark.parametrize("name", ["character-7f", "flux-character-7f", "qwen-character-7f", "wan-character-7f", "z-image-character-7f"])
async def test_a_characters_id_finds_what_training_called_it(registry: Loras, tmp_path: Path, name: str):
    digest = await known(registry, tmp_path, name)
    assert (await registry.resolve(plan(LoraUse("id:7F")), "a")).stages[0].task.loras[0].sha256 == digest


async def test_an_unknown_lora_is_not_found_and_says_what_was_tried(registry: Loras, tmp_path: Path):
    await known(registry, tmp_path, "other", base="flux-dev")
    with pytest.raises(NotFound, match=r"LoRA not found: character-9, flux-character-9.*GET /loras"):
        await registry.resolve(plan(LoraUse("id:9")), "a")
    with pytest.raises(NotFound, match="other is for flux-dev, this endpoint runs wan-t2v"):
        await registry.resolve(plan(LoraUse("other")), "a")
    with pytest.raises(NotFound):
        await registry.resolve(plan(LoraUse("other"), deployment="flux-dev"), "b")


async def test_ones_own_lora_hides_a_shared_one_of_the_name(registry: Loras, tmp_path: Path):
    shared = await known(registry, tmp_path, "style", tenant=SHARED, seed=1)
    assert (await registry.resolve(plan(LoraUse("style")), "a")).stages[0].task.loras[0].sha256 == shared
    own = await known(registry, tmp_path, "style", tenant="a", seed=2)
    assert (await registry.resolve(plan(LoraUse("style")), "a")).stages[0].task.loras[0].sha256 == own
    assert (await registry.resolve(plan(LoraUse("style")), "b")).stages[0].task.loras[0].sha256 == shared
    with pytest.raises(RylaError, match="shared"):
        await registry.remove("style", "b")


async def test_the_operator_shares_loras_from_the_command_line(tmp_path: Path, files: LoraFiles, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RYLA_LORA_ROOT", str(tmp_path / "loras"))
    monkeypatch.setenv("RYLA_DATABASE_URL", f"sqlite:///{tmp_path}/jobs.db")
    file = tmp_path / "x.safetensors"
    file.write_bytes(lora(tmp_path))
    said = [str(file), "--base", "flux-dev", "--trigger-word", "sks"]
    assert "rank 4" in await shared_loras.main(["house-style", *said])
    registry = Loras(Jobs(f"sqlite:///{tmp_path}/jobs.db").engine, files, SERVED, 1_000_000)
    shared = next(entry for entry in await registry.listed("anybody") if entry["name"] == "house-style")
    assert (shared["shared"], shared["trigger_word"]) == (True, "sks")
    with pytest.raises(RylaError, match="name"):
        await shared_loras.main(["../house", *said])
    await shared_loras.main(["house-style", "--remove"])
    assert "house-style" not in str(await registry.listed("anybody"))


async def test_the_trigger_word_goes_before_prompts_that_lack_it(registry: Loras, tmp_path: Path):
    await known(registry, tmp_path, "style", word="sks woman")
    assert (await registry.resolve(plan(LoraUse("style")), "a")).stages[0].task.prompt == "sks woman a fox"
    said = plan(LoraUse("style"), prompt="Sks Woman smiling")
    assert (await registry.resolve(said, "a")).stages[0].task.prompt == "Sks Woman smiling"


async def test_a_lora_that_ships_with_the_model_needs_no_registry(registry: Loras):
    resolved = await registry.resolve(plan(LoraUse("flux-realism-lora", 0.85), deployment="flux-dev"), "a")
    assert resolved.stages[0].task.loras == (LoraUse("flux-realism-lora", 0.85),)
    assert resolved.stages[0].affinity == "house:flux-realism-lora"


async def test_a_file_is_kept_as_long_as_somebody_names_it(registry: Loras, files: LoraFiles, tmp_path: Path):
    digest = await known(registry, tmp_path, "one")
    assert await known(registry, tmp_path, "two", tenant="b") == digest
    await registry.remove("one", "a")
    assert files.local(digest)[0].exists()
    await registry.remove("two", "b")
    with pytest.raises(NotFound):
        files.local(digest)


async def test_a_model_that_sleeps_is_woken_to_learn_what_fits_it(tmp_path: Path):
    files = LoraFiles(str(tmp_path / "loras"), tmp_path / "cache", 10**9)
    woken: list[str] = []

    async def wake(name: str) -> None:
        woken.append(name)
        files.publish_base(name, BASE)

    registry = Loras(Jobs(f"sqlite:///{tmp_path}/jobs.db").engine, files, SERVED, 1_000_000, wake)
    await known(registry, tmp_path, "style")
    assert woken == ["wan-t2v"]
