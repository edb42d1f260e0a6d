"""`POST /generate`: Studio's choice as a table, and over HTTP with a late cluster, fal's stand-in and a site that holds the reference."""

import base64
import json
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from fal_client import client as fal_client

from deployments import deployments, endpoints
from deployments.spec.stores import lora_files
from deployments.spec.studio import StudioRequest
from deployments.studio import known_models, select
from models.errors import BadRequest, Overloaded
from serve.bodies import parse
from serve.call_metrics import CallMetrics
from serve.calls import Calls
from serve.ingress import Api, create_app
from serve.jobs import Jobs
from serve.loras import Loras
from serve.placement import dispatcher, estimator_of, fallbacks
from serve.settings import Settings
from tests.deployments.bodies import picture_url
from tests.serve.bursting import OneReplica
from tests.serve.loopback_fal import KEY, LoopbackFal, loopback_fal
from tests.serve.outside_rig import BOUNDS, RATES, loopback_fetcher

LINK = "https://media.example/face.png"

TABLE = {
    # what is sent beside the prompt: rule, path, and some of the body
    "nothing": ({}, "quality", "/flux-dev", {"aspect_ratio": "1:1"}),
    "draft": ({"quality": "draft"}, "quality", "/flux", {}),
    "hq": ({"quality": "hq", "aspect": "9:16"}, "quality", "/flux-dev", {"steps": 28, "aspect_ratio": "9:16"}),
    "a model": ({"modelPreference": "qwen-image-2512", "quality": "draft"}, "model", "/qwen-image-2512-fast", {}),
    "a model by fal's id": ({"modelId": "fal-ai/flux/schnell"}, "model", "/flux", {}),
    "a model that fal alone has": ({"modelPreference": "seedream-45"}, "fal-model", "/flux-dev", {}),
    "nsfw": ({"nsfw": True}, "nsfw", "/z-image-nsfw", {"steps": 8}),
    "nsfw, wants fal": ({"nsfw": True, "modelProvider": "fal"}, "nsfw", "/z-image-nsfw", {}),
    "nsfw, wants fal's own model": ({"nsfw": True, "modelPreference": "seedream-45"}, "nsfw", "/z-image-nsfw", {}),
    "nsfw on another model": ({"nsfw": True, "modelPreference": "qwen-image-2512-fast"}, "nsfw", "/qwen-image-2512-fast", {}),
    "reference": ({"referenceImageUrl": LINK}, "reference", "/sdxl-instantid", {"instantid_strength": 0.8}),
    "pulid": (
        {"referenceImageUrl": LINK, "referenceMethod": "pulid", "referenceStrength": 0.5},
        "reference",
        "/flux-pulid",
        {"pulid_weight": 0.5},
    ),
    "ipadapter": ({"referenceImageUrl": LINK, "referenceMethod": "ipadapter"}, "reference", "/flux-ipadapter-faceid", {}),
    "lora": ({"useLora": True, "loraId": "mia", "loraStrength": 0.7}, "lora", "/flux-dev-lora", {"lora_id": "mia", "lora_strength": 0.7}),
    "lora on a model": ({"useLora": True, "loraId": "mia", "modelPreference": "qwen-image-2512"}, "lora", "/qwen-image-2512-lora", {}),
    "lora goes before all": ({"useLora": True, "loraId": "mia", "nsfw": True, "referenceImageUrl": LINK}, "lora", "/flux-dev-lora", {}),
    "a lora that is not used": ({"loraId": "mia"}, "quality", "/flux-dev", {}),
}


def asked(**sent) -> StudioRequest:
    return parse(StudioRequest, json.dumps({"prompt": "a woman in a café"} | sent).encode())


@pytest.mark.parametrize("name", TABLE)
def test_the_choice(name):
    sent, rule, path, body = TABLE[name]
    found = select(asked(**sent))
    assert (found.rule, found.path) == (rule, path)
    assert {key: found.body[key] for key in body} == body
    assert found.may_leave is (rule not in ("lora", "nsfw"))
    assert (found.reference is not None) is (rule == "reference")


@pytest.mark.parametrize("nsfw", [False, True])
@pytest.mark.parametrize("quality", ["draft", "standard", "hq"])
def test_every_choice_is_a_body_that_its_endpoint_takes(quality, nsfw):
    for model in (None, *known_models()):
        for more in (
            {},
            {"useLora": True, "loraId": "mia"},
            *({"referenceImageUrl": LINK, "referenceMethod": m} for m in ("instantid", "pulid", "ipadapter")),
        ):
            found = select(asked(quality=quality, nsfw=nsfw, modelPreference=model, **more))
            reference = {} if found.reference is None else {found.reference: picture_url()}
            endpoints()[found.path].request.model_validate(found.body | reference)


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        ({"modelPreference": "sora"}, "modelPreference must be one of"),
        ({"useLora": True}, "loraId is required"),
        ({"aspect": "5:4"}, "aspect"),
        ({"quality": "ultra"}, "quality"),
        ({"modelProvider": "runpod"}, "model"),
        ({"promptt": "x"}, "not a field"),
    ],
)
def test_what_studio_cannot_mean_is_refused_by_name(sent, says):
    with pytest.raises(BadRequest, match=says):
        select(asked(**sent))


@pytest_asyncio.fixture
async def cloud(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    async with loopback_fal() as fal:
        monkeypatch.setattr(fal_client, "QUEUE_URL_FORMAT", fal.url)
        fal.work_s = 0.0
        yield fal


class Place:
    """The API in this process, on a cluster that can be told to be full."""

    def __init__(self, folder, **options) -> None:
        settings = Settings(
            database_url=f"sqlite:///{folder}/jobs.db", lora_root=str(folder / "loras"), rates=RATES | {"CPU": 0.01}, **BOUNDS, **options
        )
        self.cluster = OneReplica(0.01)
        self.plans = []
        jobs, known = Jobs(settings.database_url), deployments()
        estimator = estimator_of(settings, known)
        placed = dispatcher(settings, self.cluster, jobs.engine, known, estimator, observe=lambda plan, _: self.plans.append(plan))
        metrics = CallMetrics(known, settings.rates, estimator, lambda *_, **__: None)
        loras = Loras(jobs.engine, lora_files(settings), known, settings.max_lora_bytes, None)
        outside = fallbacks(settings, jobs.engine, loopback_fetcher())
        calls = Calls(placed, jobs, settings.rates, metrics, loras, outside)
        self.app = create_app(Api(endpoints(), known, calls, settings, None, fetcher=loopback_fetcher()))

    async def generate(self, path: str = "/generate", headers=None, **sent) -> httpx.Response:
        transport = httpx.ASGITransport(self.app, client=("127.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://ryla", timeout=30) as http:
            return await http.post(path, json={"prompt": "a woman in a café"} | sent, headers=headers)


@pytest_asyncio.fixture
async def place(cloud, tmp_path) -> AsyncIterator[Place]:
    yield Place(tmp_path, fal_key=KEY)


def full(place: Place) -> None:
    place.cluster.failing = [Overloaded("full", 2.0)]


async def test_it_is_answered_by_the_chosen_endpoint_here(place, cloud):
    reply = await place.generate(nsfw=False, aspect="2:3", seed=5)
    assert (reply.status_code, reply.content) == (200, b"here")
    told = {name: reply.headers[name] for name in ("X-Endpoint", "X-Selection", "X-Backend", "X-Seed")}
    assert told == {"X-Endpoint": "/flux-dev", "X-Selection": "quality", "X-Backend": "cluster", "X-Seed": "5"}
    assert cloud.submitted == 0


async def test_without_a_seed_two_pictures_differ(place):
    seeds = {(await place.generate()).headers["X-Seed"] for _ in range(3)}
    assert len(seeds) == 3


async def test_sfw_falls_back_to_fal_and_says_what_ran_and_what_it_cost(place, cloud):
    full(place)
    reply = await place.generate(nsfw=False)
    assert reply.status_code == 200, reply.text
    told = {name: reply.headers[name] for name in ("X-Backend", "X-Burst-Reason", "X-Model", "X-Cost-USD", "X-GPU-Type")}
    assert told == {
        "X-Backend": "fal",
        "X-Burst-Reason": "fallback",
        "X-Model": "fal-ai/flux/dev",
        "X-Cost-USD": "0.025000",
        "X-GPU-Type": "fal",
    }
    assert reply.headers["content-type"] == "image/png"


@pytest.mark.parametrize("sent", [{"nsfw": True}, {"nsfw": True, "modelProvider": "fal"}, {"nsfw": True, "modelPreference": "flux-2"}])
async def test_nsfw_never_reaches_fal(place, cloud, sent):
    full(place)
    reply = await place.generate(**sent)
    assert reply.status_code == 429
    assert cloud.submitted == 0


async def test_a_provider_that_is_wished_for_answers_itself(place, cloud):
    reply = await place.generate(nsfw=False, modelProvider="fal", modelPreference="z-image-turbo")
    assert (reply.status_code, reply.headers["X-Backend"], reply.headers["X-Burst-Reason"]) == (200, "fal", "asked")
    assert cloud.asked[0].model == "fal-ai/z-image/turbo"
    assert place.cluster.begun == 0
    reply = await place.generate(nsfw=False, modelPreference="seedream-45")
    assert reply.headers["X-Model"] == "fal-ai/bytedance/seedream/v4.5/text-to-image"
    assert reply.headers["X-Cost-USD"] == "0.040000"
    assert cloud.asked[1].arguments["image_size"] == {"width": 2048, "height": 2048}


async def test_without_a_key_for_fal_a_wish_for_it_is_answered_here_and_its_own_models_by_501(cloud, tmp_path):
    place = Place(tmp_path)
    assert (await place.generate(modelProvider="fal")).headers["X-Backend"] == "cluster"
    reply = await place.generate(modelPreference="seedream-45")
    assert (reply.status_code, reply.json()["type"]) == (501, "NotConfigured")


async def test_a_reference_is_fetched_and_goes_along_also_to_fal(place, cloud: LoopbackFal):
    cloud.picture = base64.b64decode(picture_url().partition(",")[2])
    link = f"http://media.test:{cloud.port}/files/face.png"
    reply = await place.generate(nsfw=False, referenceImageUrl=link)
    assert (reply.headers["X-Endpoint"], reply.headers["X-Backend"]) == ("/sdxl-instantid", "cluster")
    assert place.plans[-1].stages[0].task.face.shape == (192, 192, 3)
    full(place)
    reply = await place.generate(nsfw=False, referenceImageUrl=link)
    assert reply.headers["X-Backend"] == "fal"
    assert cloud.asked[0].model == "fal-ai/flux-pulid"
    assert cloud.asked[0].arguments["reference_image_url"].startswith("data:image/jpeg")


@pytest.mark.parametrize("link", ["http://169.254.169.254/latest/meta-data/", "http://10.0.0.7/face.png", "file:///etc/passwd", "face.png"])
async def test_a_reference_inside_is_refused_by_name_and_nothing_runs(place, link):
    reply = await place.generate(referenceImageUrl=link)
    assert (reply.status_code, reply.json()["type"]) == (400, "BadMedia")
    assert "referenceImageUrl" in reply.json()["error"]
    assert place.cluster.begun == 0


async def test_a_reference_may_be_a_data_url(place):
    reply = await place.generate(referenceImageUrl=picture_url(), referenceMethod="pulid")
    assert reply.headers["X-Endpoint"] == "/flux-pulid"


async def test_a_lora_that_nobody_knows_is_not_found_and_nothing_leaves(place, cloud):
    full(place)
    reply = await place.generate(nsfw=False, useLora=True, loraId="nobody")
    assert reply.status_code == 404
    assert cloud.submitted == 0


async def test_on_plain_endpoints_the_header_marks_a_call(place, cloud):
    for headers, status in (({}, 429), ({"X-NSFW": "true"}, 429), ({"X-NSFW": "maybe"}, 400)):
        full(place)
        assert (await place.generate("/flux", headers)).status_code == status
    assert cloud.submitted == 0
    full(place)
    reply = await place.generate("/flux", {"X-NSFW": "false"})
    assert (reply.status_code, reply.headers["X-Backend"], reply.headers["X-Model"]) == (200, "fal", "fal-ai/flux/schnell")
    full(place)
    assert (await place.generate("/flux", {"X-NSFW": "false", "X-Burst": "never"})).status_code == 429


async def test_it_is_in_the_openapi_and_the_registry_tells_the_fallbacks(place):
    transport = httpx.ASGITransport(place.app, client=("127.0.0.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://ryla") as http:
        openapi = (await http.get("/openapi.json")).json()
        models = {entry["path"]: entry["fallbacks"] for entry in (await http.get("/models")).json()["models"]}
    assert "/generate" in openapi["paths"]
    assert "reference_image_url" in openapi["components"]["schemas"]["StudioRequest"]["properties"]
    assert models["/flux"] == {"fal": "fal-ai/flux/schnell", "comfyui": "flux-schnell"}
    assert models["/wan2.6"] == {"fal": None, "comfyui": None}
