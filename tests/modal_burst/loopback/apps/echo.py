"""A small app that the tests of the stand-in deploy: one of each thing that a mirror uses."""

import asyncio
import os

import modal

image = modal.Image.debian_slim(python_version="3.11").pip_install("cbor2").env({"WEIGHTS": "/weights"})
app = modal.App("echo", image=image)
weights = modal.Volume.from_name("weights", create_if_missing=True)


@app.cls(
    gpu=["L40S", "A100-80GB"],
    enable_memory_snapshot=True,
    volumes={"/weights": weights},
    max_containers=2,
    scaledown_window=30,
    timeout=600,
)
@modal.concurrent(max_inputs=4)
class Echo:
    name: str = modal.parameter()

    @modal.enter(snap=True)
    def load(self):
        if self.name == "broken":
            raise ValueError("cannot load")
        self.log = ["loaded"]

    @modal.enter(snap=False)
    def restore(self):
        self.log.append("restored")

    @modal.method()
    async def echo(self, value):
        return {"value": value, "name": self.name, "log": self.log, "weights": os.environ["WEIGHTS"], "folder": sorted(os.listdir())}

    @modal.method()
    async def count(self, upto: int):
        yield {"call": modal.current_function_call_id()}
        for number in range(upto):
            yield number
            await asyncio.sleep(0.02)

    @modal.method()
    async def leave(self):
        yield "last words"
        await modal.experimental.stop_fetching_inputs.aio()
