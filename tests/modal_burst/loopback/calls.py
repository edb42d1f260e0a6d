"""RPCs of the call path: start a call, stream what it yields, fetch how it ended, cancel it."""

import asyncio
from collections.abc import AsyncIterator, Iterable

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from tests.modal_burst.loopback.faults import Faults
from tests.modal_burst.loopback.fleet import Fleet
from tests.modal_burst.loopback.rpc import Caller
from tests.modal_burst.loopback.state import Call, Input, State

STREAM_S = 55.0  # the client opens a stream of outputs anew after this long


class Calls:
    """Calls from the client's side."""

    def __init__(self, state: State, fleet: Fleet, faults: Faults) -> None:
        self._state = state
        self._fleet = fleet
        self._faults = faults

    async def FunctionMap(self, request: api_pb2.FunctionMapRequest, _: Caller) -> api_pb2.FunctionMapResponse:
        function = self._state.functions.get(request.function_id)
        if function is None:
            raise GRPCError(Status.NOT_FOUND, f"no function {request.function_id!r}")
        call = Call(self._state.new_id("fc"), function, request.function_call_invocation_type)
        self._state.calls[call.id] = call
        return api_pb2.FunctionMapResponse(
            function_call_id=call.id,
            function_call_jwt=call.id,
            pipelined_inputs=self._put(call, request.pipelined_inputs),
            retry_policy=function.definition.retry_policy,
            sync_client_retries_enabled=True,
            max_inputs_outstanding=1000,
        )

    async def FunctionPutInputs(self, request: api_pb2.FunctionPutInputsRequest, _: Caller) -> api_pb2.FunctionPutInputsResponse:
        return api_pb2.FunctionPutInputsResponse(inputs=self._put(self._call(request.function_call_id), request.inputs))

    async def FunctionFinishInputs(self, request: api_pb2.FunctionFinishInputsRequest, _: Caller) -> Empty:
        return Empty()

    async def FunctionRetryInputs(self, request: api_pb2.FunctionRetryInputsRequest, _: Caller) -> api_pb2.FunctionRetryInputsResponse:
        call = self._call(request.function_call_jwt)
        by_jwt = {item.jwt: item for item in call.inputs}
        for retry in request.inputs:
            item = by_jwt[retry.input_jwt]
            item.output, item.container, item.started_at, item.ended_at = None, None, None, None
            item.retry_count += 1
            self._start(item)
        return api_pb2.FunctionRetryInputsResponse(input_jwts=[retry.input_jwt for retry in request.inputs])

    async def FunctionGetOutputs(self, request: api_pb2.FunctionGetOutputsRequest, _: Caller) -> api_pb2.FunctionGetOutputsResponse:
        call = self._call(request.function_call_id)
        await call.changed.until(lambda: _ended(call, request), request.timeout)
        outputs = [item.output for item in _ended(call, request) if item.output is not None]
        unfinished = sum(item.output is None for item in call.inputs)
        return api_pb2.FunctionGetOutputsResponse(outputs=outputs, last_entry_id="0-0", num_unfinished_inputs=unfinished)

    async def FunctionCallGetDataOut(self, request: api_pb2.FunctionCallGetDataRequest, _: Caller) -> AsyncIterator[api_pb2.DataChunk]:
        """What a generator yielded after `last_index`. Stays open past the end of the call: the client closes it."""
        call = self._call(request.function_call_id)
        give_up = asyncio.get_running_loop().time() + STREAM_S
        sent = request.last_index
        while (left := give_up - asyncio.get_running_loop().time()) > 0:
            for chunk in call.chunks[sent:]:
                yield chunk
            sent = max(sent, len(call.chunks))
            await call.changed.until(lambda seen=sent: len(call.chunks) > seen, left)

    async def FunctionCallCancel(self, request: api_pb2.FunctionCallCancelRequest, _: Caller) -> Empty:
        self._fleet.cancel(self._call(request.function_call_id), terminate=request.terminate_containers)
        return Empty()

    async def FunctionCallFromId(self, request: api_pb2.FunctionCallFromIdRequest, _: Caller) -> api_pb2.FunctionCallFromIdResponse:
        call = self._call(request.function_call_id)
        metadata = api_pb2.FunctionCallHandleMetadata(app_id=call.function.app.id, function_id=call.function.id)
        return api_pb2.FunctionCallFromIdResponse(function_call_id=call.id, num_inputs=len(call.inputs), metadata=metadata)

    def _put(self, call: Call, puts: Iterable[api_pb2.FunctionPutInputsItem]) -> list[api_pb2.FunctionPutInputsResponseItem]:
        replies: list[api_pb2.FunctionPutInputsResponseItem] = []
        for put in puts:
            item = Input(self._state.new_id("in"), call, put.idx, put.input)
            call.inputs.append(item)
            self._state.inputs[item.id] = item
            self._state.history.append(item)
            self._start(item)
            replies.append(api_pb2.FunctionPutInputsResponseItem(idx=put.idx, input_id=item.id, input_jwt=item.jwt))
        return replies

    def _start(self, item: Input) -> None:
        ending = self._faults.ending()
        if ending is None:
            self._fleet.submit(item)
        else:
            self._fleet.finish(item, ending)

    def _call(self, call_id: str) -> Call:
        if call_id not in self._state.calls:
            raise GRPCError(Status.NOT_FOUND, f"no call {call_id!r}")
        return self._state.calls[call_id]


def _ended(call: Call, request: api_pb2.FunctionGetOutputsRequest) -> list[Input]:
    wanted = range(request.start_idx, request.end_idx + 1) if request.HasField("end_idx") else range(len(call.inputs))
    return [item for item in call.inputs if item.output is not None and item.idx in wanted]
