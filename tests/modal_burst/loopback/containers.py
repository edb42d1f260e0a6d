"""RPCs that Modal's container runner asks: work to do, results to hand in, cancellations, snapshots."""

import json

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from tests.modal_burst.loopback.fleet import Fleet
from tests.modal_burst.loopback.process import HEARTBEAT_S, restore_file
from tests.modal_burst.loopback.rpc import Caller
from tests.modal_burst.loopback.state import Container, State


class Containers:
    """Calls from the container's side."""

    def __init__(self, state: State, fleet: Fleet) -> None:
        self._state = state
        self._fleet = fleet

    async def ContainerHello(self, request: Empty, caller: Caller) -> Empty:
        self._container(caller)
        return Empty()

    async def ContainerHeartbeat(self, request: api_pb2.ContainerHeartbeatRequest, caller: Caller) -> api_pb2.ContainerHeartbeatResponse:
        """Held open until there is something to cancel, so that a cancellation arrives at once."""
        container = self._container(caller)
        if not await container.changed.until(lambda: container.cancelled, HEARTBEAT_S * 0.8):
            return api_pb2.ContainerHeartbeatResponse()
        event = api_pb2.CancelInputEvent(input_ids=container.cancelled)
        container.cancelled.clear()
        return api_pb2.ContainerHeartbeatResponse(cancel_input_event=event)

    async def ContainerCheckpoint(self, request: api_pb2.ContainerCheckpointRequest, caller: Caller) -> Empty:
        """Walks the snapshot's protocol: the container believes it was saved and restored; nothing is."""
        container = self._container(caller)
        restore_file(self._state.folder, container.id).write_text(json.dumps({"task_id": container.id}))
        self._state.snapshots.append(container.id)
        return Empty()

    async def FunctionGetInputs(self, request: api_pb2.FunctionGetInputsRequest, caller: Caller) -> api_pb2.FunctionGetInputsResponse:
        container = self._container(caller)
        item = await self._fleet.take(container)
        if item is None:
            return api_pb2.FunctionGetInputsResponse()
        if item == "retire":
            return api_pb2.FunctionGetInputsResponse(inputs=[api_pb2.FunctionGetInputsItem(kill_switch=True)])
        given = api_pb2.FunctionGetInputsItem(
            input_id=item.id,
            input=item.item,
            function_call_id=item.call.id,
            function_call_invocation_type=item.call.invocation,
            retry_count=item.retry_count,
            function_map_idx=item.idx,
        )
        return api_pb2.FunctionGetInputsResponse(inputs=[given])

    async def FunctionPutOutputs(self, request: api_pb2.FunctionPutOutputsRequest, caller: Caller) -> Empty:
        for output in request.outputs:
            item = self._state.inputs.get(output.input_id)
            if item is not None and item.retry_count == output.retry_count:
                self._fleet.finish(item, output.result, output.data_format)
        return Empty()

    async def FunctionCallPutDataOut(self, request: api_pb2.FunctionCallPutDataRequest, caller: Caller) -> Empty:
        call = self._state.calls.get(request.function_call_id)
        if call is not None:
            call.chunks.extend(request.data_chunks)
            call.changed.fire()
        return Empty()

    async def FunctionGetDynamicConcurrency(
        self, request: api_pb2.FunctionGetDynamicConcurrencyRequest, caller: Caller
    ) -> api_pb2.FunctionGetDynamicConcurrencyResponse:
        return api_pb2.FunctionGetDynamicConcurrencyResponse(concurrency=request.target_concurrency)

    async def ContainerStop(self, request: api_pb2.ContainerStopRequest, caller: Caller) -> api_pb2.ContainerStopResponse:
        """A container that takes no more work."""
        container = self._container(caller)
        container.retired = True
        container.function.changed.fire()
        return api_pb2.ContainerStopResponse()

    async def TaskResult(self, request: api_pb2.TaskResultRequest, caller: Caller) -> Empty:
        """A container's last words when it could not start: its calls end with this."""
        container = self._container(caller)
        container.failure = request.result
        return Empty()

    async def VolumeCommit(self, request: api_pb2.VolumeCommitRequest, caller: Caller) -> api_pb2.VolumeCommitResponse:
        return api_pb2.VolumeCommitResponse(skip_reload=True)

    async def VolumeReload(self, request: api_pb2.VolumeReloadRequest, caller: Caller) -> Empty:
        return Empty()

    def _container(self, caller: Caller) -> Container:
        container = self._state.containers.get(caller.container or "")
        if container is None:
            raise GRPCError(Status.PERMISSION_DENIED, "only a container may ask this")
        return container
