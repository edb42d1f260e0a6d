"""Classes that run inside the stand-in: a few lines of test code in place of a container, for tests of the client alone."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import cbor2
from modal._serialization import deserialize_proto_params, signature_to_parameter_specs
from modal_proto import api_pb2
from modal_proto.api_pb2 import GenericResult

from tests.modal_burst.loopback import definitions
from tests.modal_burst.loopback.fleet import Fleet
from tests.modal_burst.loopback.state import App, Container, Function, Input, State

CBOR = api_pb2.DATA_FORMAT_CBOR
Method = Callable[..., AsyncIterator[Any] | Awaitable[Any]]


@dataclass(frozen=True)
class Context:
    """First argument of a method: the call's id, the class's parameters, and the container that runs it."""

    call_id: str
    parameters: Mapping[str, Any]
    container: Container


@dataclass(frozen=True)
class LocalClass:
    """A class as test code. Methods are async functions or generators of (context, *arguments); payloads are cbor.

    parameters: types by name, as `modal.parameter()` declares them.
    """

    methods: Mapping[str, Method]
    parameters: Mapping[str, type]
    gpu: str
    max_inputs: int
    max_containers: int
    cold_start_s: float


def definition(name: str, local: LocalClass) -> api_pb2.Function:
    """What a deployed class of these methods would be defined as."""
    specs = signature_to_parameter_specs(
        inspect.Signature([inspect.Parameter(k, inspect.Parameter.KEYWORD_ONLY, annotation=v) for k, v in local.parameters.items()])
    )
    formats = {"supported_input_formats": [CBOR], "supported_output_formats": [CBOR, api_pb2.DATA_FORMAT_GENERATOR_DONE]}
    methods = {
        method: api_pb2.MethodDefinition(
            function_name=f"{name}.{method}",
            function_type=api_pb2.Function.FUNCTION_TYPE_GENERATOR
            if inspect.isasyncgenfunction(function)
            else api_pb2.Function.FUNCTION_TYPE_FUNCTION,
            **formats,
        )
        for method, function in local.methods.items()
    }
    gpu = api_pb2.GPUConfig(gpu_type=local.gpu, count=0 if local.gpu == "CPU" else 1)
    proto = api_pb2.ClassParameterInfo.PARAM_SERIALIZATION_FORMAT_PROTO
    return api_pb2.Function(
        function_name=f"{name}.*",
        is_class=True,
        method_definitions=methods,
        method_definitions_set=True,
        max_concurrent_inputs=local.max_inputs,
        resources=api_pb2.Resources(gpu_config=gpu),
        autoscaler_settings=api_pb2.AutoscalerSettings(max_containers=local.max_containers),
        class_parameter_info=api_pb2.ClassParameterInfo(format=proto, schema=specs) if specs else None,
    )


class LocalContainers:
    """Containers that are tasks of the server's loop."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._tasks: set[asyncio.Task[None]] = set()
        self.classes: dict[str, LocalClass] = {}

    def deploy(self, app_name: str, name: str, local: LocalClass, tags: Mapping[str, str]) -> None:
        """Publish the class under a name, as `modal deploy` does."""
        app = self._state.app_named(app_name) or App(self._state.new_id("ap"), app_name)
        function = Function(self._state.new_id("fu"), app, [definition(name, local)])
        self._state.apps[app.id] = app
        self._state.functions[function.id] = function
        self.classes[function.id] = local
        app.version += 1
        app.tags = dict(tags)
        app.functions[f"{name}.*"] = function.id
        app.classes[name] = self._state.new_id("cs")

    def launch(self, function: Function, fleet: Fleet) -> Container:
        """Start a container in the background."""
        local = self.classes[(function.base or function).id]
        container = Container(self._state.new_id("ta"), function, definitions.card(function.definition), stop=lambda: None)
        task = asyncio.get_running_loop().create_task(self._live(container, local, fleet))
        container.stop = task.cancel
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return container

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _live(self, container: Container, local: LocalClass, fleet: Fleet) -> None:
        tasks: dict[str, asyncio.Task[None]] = {}
        slots = asyncio.Semaphore(container.function.slots)
        heed = asyncio.create_task(_heed(container, tasks))
        try:
            await asyncio.sleep(local.cold_start_s)
            while True:
                await slots.acquire()
                item = await fleet.take(container)
                if item == "retire":
                    break
                if item is None:
                    slots.release()
                    continue
                tasks[item.id] = task = asyncio.create_task(self._run(item, local, fleet))
                task.add_done_callback(lambda _: slots.release())
            await asyncio.gather(*tasks.values(), return_exceptions=True)
        finally:
            heed.cancel()
            fleet.lost(container, "was killed")
            for task in tasks.values():
                task.cancel()

    async def _run(self, item: Input, local: LocalClass, fleet: Fleet) -> None:
        try:
            payload = self._state.blobs[item.item.args_blob_id] if item.item.args_blob_id else item.item.args
            positional, named = cbor2.loads(payload)
            container = item.container
            assert container is not None
            parameters = deserialize_proto_params(item.call.function.params) if local.parameters else {}
            context = Context(item.call.id, parameters, container)
            result = local.methods[item.item.method_name](context, *positional, **named)
            if inspect.isasyncgen(result):
                async with aclosing(result):
                    async for value in result:
                        self._yield(item, value)
                done, data_format = (
                    api_pb2.GeneratorDone(items_total=len(item.call.chunks)).SerializeToString(),
                    api_pb2.DATA_FORMAT_GENERATOR_DONE,
                )
            else:
                done, data_format = cbor2.dumps(await result), CBOR
            fleet.finish(item, GenericResult(status=GenericResult.GENERIC_STATUS_SUCCESS, data=done), data_format)
        except asyncio.CancelledError:
            fleet.finish(item, GenericResult(status=GenericResult.GENERIC_STATUS_TERMINATED, exception="cancelled"))
        except Exception as error:
            fleet.finish(item, GenericResult(status=GenericResult.GENERIC_STATUS_FAILURE, exception=repr(error)), CBOR)

    def _yield(self, item: Input, value: Any) -> None:
        chunks = item.call.chunks
        chunks.append(api_pb2.DataChunk(data_format=CBOR, data=cbor2.dumps(value), index=len(chunks) + 1))
        item.call.changed.fire()


async def _heed(container: Container, tasks: Mapping[str, "asyncio.Task[None]"]) -> None:
    """Pass cancellations on to the inputs they name."""
    while await container.changed.until(lambda: container.cancelled, 1e9):
        for input_id in container.cancelled:
            tasks[input_id].cancel()
        container.cancelled.clear()
