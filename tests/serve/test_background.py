import asyncio
import gc

from serve.background import Background


async def test_what_is_begun_goes_on_with_nobody_holding_it_and_can_be_waited_for():
    background, done = Background(), list[str]()

    async def work(name: str) -> None:
        await asyncio.sleep(0.01)
        done.append(name)
        if name == "bad":
            raise ValueError(name)

    background.start(work("good"))
    bad = background.start(work("bad"))
    gc.collect()
    await background.ended()
    assert sorted(done) == ["bad", "good"]
    assert isinstance(bad.exception(), ValueError)
    await background.ended()  # nothing is left to wait for
