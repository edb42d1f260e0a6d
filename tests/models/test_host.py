import asyncio
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing

import numpy as np
import pytest

from models import host as host_module
from models.errors import BadMedia, Cancelled, DeadlineExceeded, NotConfigured
from models.host import Result, RunnerHost
from models.media import Encoding, encode
from models.runner import Call, Card, Finished, FrameEvent, Frames, Progress
from models.task import Task, TextToImage

PNG, MP4 = Encoding(format="png"), Encoding(format="mp4", fps=8)


class Stepper:
    """A runner of ten short steps that paints its seed, one frame a chunk, `frames` chunks."""

    def __init__(self, frames: int = 1, step_s: float = 0.005) -> None:
        self.frames, self.step_s = frames, step_s
        self.stopped_at = 0
        self.transformed = 0

    def run(self, task: Task, call: Call) -> Iterator[Frames]:
        for done in range(1, 11):
            time.sleep(self.step_s)
            self.stopped_at = done
            call.step("denoise", done, 10)
        for index in range(self.frames):
            yield Frames(np.full((1, 32, 32, 3), task.seed, np.uint8), np.array([index / 8]))

    def transform(self, task: Task, frames: Iterator[Frames], call: Call) -> Iterator[Frames]:
        for chunk in frames:
            self.transformed += len(chunk.pixels)
            call.facts["frames"] = self.transformed
            yield chunk

    def close(self) -> None:
        self.closed = True


async def collect(events: AsyncGenerator[Progress | Result, None]) -> tuple[list[Progress], Result]:
    found = [event async for event in events]
    assert isinstance(found[-1], Result)
    return [event for event in found if isinstance(event, Progress)], found[-1]


async def test_a_job_that_is_over_at_once_sends_its_result_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(host_module, "PROGRESS_EVERY_S", 60.0)  # at once, on however busy a machine
    progress, _ = await collect(RunnerHost(Stepper(step_s=0.001)).produce(Task(seed=7), PNG))
    assert progress == []


async def test_progress_then_one_result_with_time_and_facts():
    progress, result = await collect(RunnerHost(Stepper(step_s=0.06)).produce(Task(seed=7), PNG))
    assert [p.stage for p in progress] == ["denoise"] * len(progress)
    assert 1 <= len(progress) <= 3
    assert progress == sorted(progress, key=lambda p: p.done)
    assert result.media.startswith(b"\x89PNG")
    assert 0.05 <= result.stages[0].busy_s < 5


async def test_closing_the_stream_stops_the_run_within_a_step_and_frees_the_slot():
    runner = Stepper(step_s=0.1)
    host = RunnerHost(runner)
    async with aclosing(host.produce(Task(seed=1), PNG)) as events:
        async for event in events:
            assert isinstance(event, Progress)
            break
    stopped = runner.stopped_at
    assert stopped <= 3
    assert host.running == 0
    await asyncio.sleep(0.25)
    assert runner.stopped_at == stopped
    await collect(host.produce(Task(seed=1), PNG))


async def test_a_cancelled_task_waiting_for_its_turn_leaves_the_queue():
    host = RunnerHost(Stepper(step_s=0.02))
    first = asyncio.create_task(collect(host.produce(Task(seed=1), PNG)))
    await asyncio.sleep(0.05)
    second = asyncio.create_task(collect(host.produce(Task(seed=2), PNG)))
    await asyncio.sleep(0.02)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    await first


async def test_the_deadline_ends_a_run():
    with pytest.raises(DeadlineExceeded):
        await collect(RunnerHost(Stepper(step_s=0.05)).produce(Task(seed=1), PNG, deadline=time.time() + 0.1))


async def test_a_chain_moves_frames_through_and_tells_of_both_stages():
    video, swap = RunnerHost(Stepper(frames=12)), RunnerHost(Stepper())
    progress, result = await collect(swap.produce(Task(seed=1), MP4, upstream=video.frames(Task(seed=3))))
    assert {p.stage for p in progress} <= {"denoise"}
    assert [type(stage) for stage in result.stages] == [Finished, Finished]
    assert result.stages[1].facts["frames"] == 12
    assert result.stages[1].busy_s < result.stages[0].busy_s


async def test_a_producer_never_runs_far_ahead_of_its_consumer():
    seen = 0
    host = RunnerHost(Stepper(frames=50, step_s=0.0))
    made: list[int] = []
    real_run = host.runner.run

    def counted(task: Task, call: Call) -> Iterator[Frames]:
        for frames in real_run(task, call):
            made.append(1)
            yield frames

    host.runner.run = counted  # type: ignore[method-assign]
    async with aclosing(host.frames(Task(seed=1))) as events:
        async for event in events:
            if isinstance(event, Frames):
                seen += 1
                await asyncio.sleep(0.01)
                assert len(made) - seen <= 3
    assert seen == 50


async def test_an_error_upstream_reaches_the_end_of_the_chain():
    async def broken() -> AsyncIterator[FrameEvent]:
        yield Frames(np.zeros((1, 32, 32, 3), np.uint8), np.array([0.0]))
        raise BadMedia("the source broke")

    with pytest.raises(BadMedia, match="the source broke"):
        await collect(RunnerHost(Stepper()).produce(Task(seed=1), MP4, upstream=broken()))


async def test_closing_a_chain_stops_its_upstream():
    left = asyncio.Event()

    async def endless() -> AsyncIterator[FrameEvent]:
        try:
            for index in range(10_000):
                yield Frames(np.zeros((1, 32, 32, 3), np.uint8), np.array([index / 8]))
                yield Progress("denoise", index, 10_000)
                await asyncio.sleep(0.001)
        finally:
            left.set()

    async with aclosing(RunnerHost(Stepper()).produce(Task(seed=1), MP4, upstream=endless())) as events:
        async for _ in events:
            break
    await asyncio.wait_for(left.wait(), 5)


async def test_a_runner_without_transform_cannot_end_a_chain():
    class Plain(Stepper):
        transform = None  # type: ignore[assignment]

    async def nothing() -> AsyncIterator[FrameEvent]:
        return
        yield

    with pytest.raises(NotConfigured):
        await collect(RunnerHost(Plain()).produce(Task(seed=1), MP4, upstream=nothing()))


class Painter(Stepper):
    """A runner that batches: paints each task's seed, and records the sizes of its batches."""

    def __init__(self) -> None:
        super().__init__(step_s=0.02)
        self.batches: list[int] = []

    def batch_key(self, task: Task) -> object:
        assert isinstance(task, TextToImage)
        return task.width

    def run_batch(self, tasks: Sequence[Task], calls: Sequence[Call]) -> list[Frames | Exception]:
        self.batches.append(len(tasks))
        outcomes: list[Frames | Exception] = []
        for done in range(1, 6):
            time.sleep(self.step_s)
            for call in calls:
                if call.on_progress is not None:
                    call.on_progress(Progress("denoise", done, 5))
        for task, call in zip(tasks, calls, strict=True):
            try:
                call.check()
                outcomes.append(Frames(np.full((1, 32, 32, 3), task.seed, np.uint8), np.zeros(1)))
            except Cancelled as error:
                outcomes.append(error)
        return outcomes


def picture(seed: int, width: int = 64) -> TextToImage:
    return TextToImage(seed=seed, prompt="a", width=width, height=64, steps=5, guidance=1.0)


def shade(result: Result) -> int:
    from models.media import Limits, read_image

    return int(read_image(result.media, "reply", Limits())[0, 0, 0])


async def test_tasks_that_wait_together_run_together_and_keep_their_own_result():
    runner = Painter()
    host = RunnerHost(runner, batch=4)
    results = await asyncio.gather(*(collect(host.produce(picture(seed, 64 if seed < 6 else 128), PNG)) for seed in range(8)))
    assert [shade(result) for _, result in results] == list(range(8))
    assert runner.batches == [4, 2, 2]
    assert [result.stages[0].facts["batch"] for _, result in results] == [4, 4, 4, 4, 2, 2, 2, 2]


async def test_a_picture_is_encoded_while_the_next_batch_runs(monkeypatch: pytest.MonkeyPatch):
    runner, next_runs = Painter(), threading.Event()

    def run_batch(tasks: Sequence[Task], calls: Sequence[Call]) -> list[Frames | Exception]:
        if runner.batches:
            next_runs.set()
        return Painter.run_batch(runner, tasks, calls)

    def encode_late(frames: Iterator[Frames], encoding: Encoding, call: Call) -> bytes:
        assert next_runs.wait(30), "the next batch waits for a picture file"
        return encode(frames, encoding, call)

    monkeypatch.setattr(runner, "run_batch", run_batch)
    monkeypatch.setattr(host_module, "encode", encode_late)
    host = RunnerHost(runner, batch=2)
    results = await asyncio.gather(*(collect(host.produce(picture(seed, 64 + 64 * seed), PNG)) for seed in range(2)))
    assert [shade(result) for _, result in results] == [0, 1]
    assert runner.batches == [1, 1]


async def test_one_that_leaves_a_batch_does_not_disturb_the_others():
    runner = Painter()
    host = RunnerHost(runner, batch=4)
    tasks = [asyncio.create_task(collect(host.produce(picture(seed), PNG))) for seed in range(3)]
    await asyncio.sleep(0.05)
    tasks[1].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[1]
    assert [shade((await tasks[index])[1]) for index in (0, 2)] == [0, 2]


async def test_one_that_leaves_while_waiting_is_never_run():
    runner = Painter()
    host = RunnerHost(runner, batch=2)
    first = asyncio.create_task(collect(host.produce(picture(1), PNG)))
    await asyncio.sleep(0.03)
    second = asyncio.create_task(collect(host.produce(picture(2), PNG)))
    await asyncio.sleep(0.01)
    second.cancel()
    await first
    await asyncio.sleep(0.05)
    assert runner.batches == [1]


async def test_a_chain_of_three_tells_of_every_run():
    first, second, third = (RunnerHost(Stepper(frames=12), card=Card(name)) for name in ("a", "b", "c"))
    made = second.frames(Task(seed=1), upstream=first.frames(Task(seed=3)))
    _, result = await collect(third.produce(Task(seed=1), MP4, upstream=made))
    assert [stage.card.name for stage in result.stages] == ["a", "b", "c"]
    assert [stage.before for stage in result.stages] == [(), (), ()]
    assert result.stages[2].facts["frames"] == 12
