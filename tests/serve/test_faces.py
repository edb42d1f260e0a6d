"""Face swaps through the API, on the real engine in this process: choices, consent, refusals, and what the reply and the job say."""

import io
import json

import c2pa
import httpx
import numpy as np
import pytest
from skimage import data

from deployments import deployments, endpoints
from deployments.spec.stores import lora_files
from models.errors import BadRequest, Refused
from models.faceswap.embedded import EmbeddedEngine
from models.faceswap.safety.gallery import add
from models.host import RunnerHost
from models.media import read_image
from models.media.limits import Limits
from models.weights import Loading
from serve.bodies import parse
from serve.call_metrics import CallMetrics
from serve.calls import Calls
from serve.consent import ConsentRule
from serve.ingress import Api, create_app
from serve.jobs import Jobs
from serve.loras import Loras
from serve.placement import dispatcher, estimator_of
from serve.settings import Settings
from tests.conftest import png_url
from tests.serve.inprocess import InProcess

WOMAN = np.ascontiguousarray(data.astronaut()[:320])
SWAP = "/image-faceswap"


@pytest.fixture(scope="module")
def man():
    from importlib.resources import files

    import cv2

    picture = cv2.imread(str(files("insightface") / "data" / "images" / "t1.jpg"))
    assert picture is not None
    return np.ascontiguousarray(picture[60:380, 900:1212, ::-1])


class Place:
    """A gateway and the face swapper, as a place with these settings has them."""

    def __init__(self, tmp_path, **changes):
        given = {"database_url": f"sqlite:///{tmp_path}/jobs.db", "lora_root": str(tmp_path / "loras"), "c2pa_folder": tmp_path / "c2pa"}
        self.settings = Settings(**given, face_gallery=tmp_path / "gallery.json", **changes)
        self.jobs = Jobs(self.settings.database_url)
        self.written = []
        backend = InProcess(tmp_path)
        known = deployments()
        loading = Loading({}, safety=self.settings.safety)
        backend._hosts["face-swap"] = RunnerHost(known["face-swap"].load(loading), 1, sealer=self.settings.sealer())
        estimator = estimator_of(self.settings, known)
        write = lambda metric, value, **labels: self.written.append((metric.name, labels))  # noqa: E731
        metrics = CallMetrics(known, self.settings.rates, estimator, write)
        calls = Calls(
            dispatcher(self.settings, backend, self.jobs.engine, known, estimator),
            self.jobs,
            self.settings.rates,
            metrics,
            Loras(self.jobs.engine, lora_files(self.settings), known, self.settings.max_lora_bytes, None),
            consent=ConsentRule(self.settings.requires_consent, self.settings.consenting_tenants),
        )
        app = create_app(Api(endpoints(), known, calls, self.settings, None))
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app, client=("127.0.0.1", 1)), base_url="http://ryla", timeout=120)

    async def swap(self, man, **changes):
        body = {"source_image": png_url(WOMAN), "reference_image": png_url(man)} | changes
        return await self.client.post(SWAP, json=body)

    async def consent(self, reply):
        return (await self.client.get(f"/jobs/{reply.headers['x-job-id']}")).json()["consent"]


async def test_the_drop_in_body_works_and_its_result_is_signed(tmp_path, man):
    place = Place(tmp_path)
    reply = await place.swap(man)
    assert reply.status_code == 200
    assert reply.headers["x-faces-swapped"] == "1/1"
    assert reply.headers["x-provenance"] == "c2pa-development"
    assert reply.headers["x-minor-gate"] == "not-installed"
    report = json.loads(c2pa.Reader("image/png", io.BytesIO(reply.content)).json())
    assert report["validation_state"] == "Valid"
    (entry,) = await place.consent(reply)
    assert (entry["field"], entry["attested"], entry["attested_by"]) == ("reference_image", False, "nobody")


async def test_an_attestation_is_stored_with_the_job_beside_the_pictures_hash(tmp_path, man):
    place = Place(tmp_path, require_consent=True)
    given = {"attested": True, "record": "contract 12"}
    reply = await place.swap(man, consent=given)
    assert reply.status_code == 200
    (entry,) = await place.consent(reply)
    assert entry.items() >= {"field": "reference_image", "attested": True, "record": "contract 12", "attested_by": "call"}.items()
    assert len(entry["picture_sha256"]) == 64


async def test_without_one_a_place_that_demands_it_refuses(tmp_path, man):
    place = Place(tmp_path, require_consent=True)
    for consent in ({}, {"consent": {"attested": False}}):
        reply = await place.swap(man, **consent)
        assert reply.status_code == 403
        assert "reference_image" in reply.json()["error"]
        assert reply.json()["type"] == "Refused"
    extra = {"face_image": png_url(man), "face": "right"}
    reply = await place.swap(man, face="left", consent={"attested": True}, more_faces=[extra])
    assert "more_faces.0.face_image" in reply.json()["error"]
    assert ("ryla_face_refusals", {"rule": "consent"}) in place.written


def test_full_demands_consent_and_tiny_does_not():
    assert Settings(profile="full").requires_consent
    assert not Settings(profile="tiny").requires_consent
    assert not Settings(profile="full", require_consent=False).requires_consent


def test_a_contract_attests_for_all_calls_of_a_tenant(man):
    request = parse(endpoints()[SWAP].request, json.dumps({"source_image": png_url(WOMAN), "reference_image": png_url(man)}).encode())
    rule = ConsentRule(required=True, standing=("ryla",))
    (entry,) = rule.check(request, "ryla")
    assert (entry["attested_by"], entry["tenant"]) == ("contract", "ryla")
    with pytest.raises(Refused, match="reference_image"):
        rule.check(request, "somebody")


async def test_a_blocked_face_is_refused_and_counted(tmp_path, man):
    place = Place(tmp_path)
    add(place.settings.face_gallery, "blocked", "somebody", EmbeddedEngine().recognise(man))
    reply = await place.swap(man)
    assert reply.status_code == 403
    assert "list of faces" in reply.json()["error"]
    assert ("ryla_face_refusals", {"rule": "blocklist"}) in place.written


async def test_several_sources_for_several_people(tmp_path, man):
    place = Place(tmp_path, c2pa=False)
    pair = np.concatenate([WOMAN, man], axis=1)
    crossed = {"face": "left", "more_faces": [{"face_image": png_url(WOMAN), "face": "reference", "target_face": png_url(man)}]}
    both, one = await place.swap(man, source_image=png_url(pair), **crossed), await place.swap(man, source_image=png_url(pair), face="left")
    assert "x-provenance" not in both.headers
    both, one = (read_image(reply.content, "reply", Limits()).astype(int) for reply in (both, one))
    assert np.abs(one[:, :512] - pair[:, :512]).max() > 40
    assert (one[:, 512:] == pair[:, 512:]).all()
    assert np.abs(both[:, 512:] - pair[:, 512:]).max() > 40
    np.testing.assert_array_equal(both[:, :400], one[:, :400])


@pytest.mark.parametrize(
    ("changes", "tells"),
    [
        ({"face": "biggest"}, "face"),
        ({"face": "index:x"}, "face"),
        ({"face": "reference"}, "target_face"),
        ({"target_face": png_url(WOMAN)}, "face=reference"),
        ({"more_faces": [{"face_image": png_url(WOMAN), "face": "largest"}]}, "two source faces are for face='largest'"),
        ({"pixel_boost": 200}, "pixel_boost"),
        ({"mask_padding": [0.95, 0, 0, 0]}, "mask_padding"),
        ({"mask_blur": 2}, "mask_blur"),
        ({"consent": {"attested": "perhaps"}}, "attested"),
        ({"consent": {"agreed": True}}, "consent"),
    ],
)
@pytest.mark.parametrize("path", [SWAP, "/wan2.6-i2v-faceswap"])
def test_nonsense_is_refused_by_name(path, changes, tells):
    pictures = {"reference_image": png_url(WOMAN)} | ({"source_image": png_url(WOMAN)} if path == SWAP else {"face_image": png_url(WOMAN)})
    fields = pictures | ({} if path == SWAP else {"prompt": "a"}) | changes
    endpoint = endpoints()[path]
    with pytest.raises(BadRequest, match=tells):
        endpoint.plan(parse(endpoint.request, json.dumps(fields).encode()), 1)


@pytest.mark.parametrize("path", [path for path, endpoint in endpoints().items() if "face-swap" in endpoint.capabilities])
def test_every_face_swap_takes_the_choices_and_attests(path):
    from tests.deployments.bodies import body

    endpoint = endpoints()[path]
    fields = {"face": "index:1", "keep_occlusion": True, "mask_padding": [0.1, 0, 0, 0], "pixel_boost": 256, "consent": {"attested": True}}
    request = parse(endpoint.request, json.dumps(body(endpoint) | fields).encode())
    task = endpoint.plan(request, 1).stages[-1].task
    assert (task.face.by, task.face.index, task.boost, task.mask.occlusion) == ("index", 1, 2, True)
    (entry,) = request.attestations()
    assert entry["attested"]
