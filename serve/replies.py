"""What a client gets back: the raw media with true headers, or the same as the last event of a progress stream."""

import base64
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator

from starlette.responses import Response, StreamingResponse

from deployments.spec.deployment import Deployment
from modal_burst.manifest import model_version
from models.host import Event, Result
from models.runner import Fact, Profile, Progress
from serve.calls import Job
from serve.problems import body_of, status_of

VERSION = "model_version"  # the fact; a chain's stages have one each
# Facts that a present caller knows under a name of its own; every other fact becomes `X-Some-Fact`.
HEADER_OF = {
    "fps": "X-FPS",
    "lora": "X-LoRA",
    "lora_used": "X-LoRA-Used",
    "nsfw_mode": "X-NSFW-Mode",
    "pulid_weight": "X-PuLID-Weight",
}


def headers_of(job: Job, result: Result, deployments: dict[str, Deployment], profile: Profile) -> dict[str, str]:
    """The `X-` headers of a finished job. Spelt in capitals because one present client compares names exactly."""
    bill = job.bill
    assert bill is not None
    facts: dict[str, Fact] = dict(job.plan.facts)
    for stage in result.stages:
        facts |= stage.facts
    facts.pop(VERSION, None)
    if "faces_swapped" in facts:
        facts["faces_swapped"] = f"{facts['faces_swapped']}/{facts['frames']}"
    headers = {
        "X-Cost-USD": f"{bill.usd:.6f}",
        "X-Execution-Time-Sec": f"{time.perf_counter() - job.started:.3f}",
        "X-GPU-Type": bill.gpu,
        "X-Model-Version": "+".join(_versions(job, result, deployments, profile)),
        "X-Model": "+".join(deployments[stage.deployment].model for stage in job.plan.stages),
        "X-Seed": str(job.seed),
        "X-Backend": job.backend,
        "X-Burst-Reason": job.reason,
        "X-Profile": profile,
        "X-Job-Id": job.id,
    }
    return headers | {_header(name): str(value) for name, value in facts.items()}


def _versions(job: Job, result: Result, deployments: dict[str, Deployment], profile: Profile) -> list[str]:
    """Each stage's own word for its version; the mirror gives none, since it runs nothing but this gateway's version."""
    pairs = zip(job.plan.stages, result.stages, strict=False)
    return [str(done.facts.get(VERSION) or model_version(deployments[stage.deployment], profile)) for stage, done in pairs]


def _header(fact: str) -> str:
    return HEADER_OF.get(fact, "X-" + "-".join(part.capitalize() for part in fact.split("_")))


def media_reply(result: Result, headers: dict[str, str]) -> Response:
    """The finished media as the body."""
    response = Response(result.media, media_type=result.content_type)
    # Set raw: Starlette's own way would spell the names in lower case.
    response.raw_headers.extend((name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers.items())
    return response


def event_reply(job: Job, events: AsyncGenerator[Event, None], deployments: dict[str, Deployment], profile: Profile) -> Response:
    """Server-sent events: `progress`, and `preview` where asked for, then `result` with the media in base64, or `problem`."""

    async def stream() -> AsyncIterator[str]:
        yield _event("accepted", {"job_id": job.id, "seed": job.seed})
        try:
            async for event in events:
                if isinstance(event, Progress) and event.picture is not None:
                    yield _event("preview", {"content_type": "image/jpeg", "picture": base64.b64encode(event.picture).decode()})
                elif isinstance(event, Progress):
                    yield _event("progress", {"stage": event.stage, "done": event.done, "total": event.total})
                else:
                    await events.aclose()  # settles the job, so that whoever asks for its row on this event finds its outcome
                    media = base64.b64encode(event.media).decode()
                    headers = headers_of(job, event, deployments, profile)
                    yield _event("result", {"content_type": event.content_type, "headers": headers, "media": media})
        except Exception as error:
            yield _event("problem", {"status": status_of(error), **body_of(error, job.id)})
        finally:
            await events.aclose()

    return StreamingResponse(stream(), media_type="text/event-stream", headers={"Cache-Control": "no-store", "X-Job-Id": job.id})


def _event(name: str, data: dict[str, object]) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"
