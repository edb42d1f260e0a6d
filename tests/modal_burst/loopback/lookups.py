"""RPCs by which a client finds classes, binds variants, reads load and sets the autoscaler."""

import hashlib

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from tests.modal_burst.loopback import definitions
from tests.modal_burst.loopback.fleet import Fleet
from tests.modal_burst.loopback.ledger import Ledger
from tests.modal_burst.loopback.rpc import Caller
from tests.modal_burst.loopback.state import App, Function, State

IMAGE_BUILDER = "2025.06"


class Lookups:
    """Names to ids, and what an operator may ask about a function."""

    def __init__(self, state: State, fleet: Fleet, ledger: Ledger) -> None:
        self._state = state
        self._fleet = fleet
        self._ledger = ledger

    async def ClientHello(self, request: Empty, _: Caller) -> api_pb2.ClientHelloResponse:
        return api_pb2.ClientHelloResponse(image_builder_version=IMAGE_BUILDER)

    async def EnvironmentGetOrCreate(
        self, request: api_pb2.EnvironmentGetOrCreateRequest, _: Caller
    ) -> api_pb2.EnvironmentGetOrCreateResponse:
        settings = api_pb2.EnvironmentSettings(image_builder_version=IMAGE_BUILDER)
        metadata = api_pb2.EnvironmentMetadata(name=request.deployment_name or "main", settings=settings)
        return api_pb2.EnvironmentGetOrCreateResponse(environment_id="en-1", metadata=metadata)

    async def AppGetOrCreate(self, request: api_pb2.AppGetOrCreateRequest, _: Caller) -> api_pb2.AppGetOrCreateResponse:
        return api_pb2.AppGetOrCreateResponse(app_id=self._app(request.app_name).id)

    async def AppGetTags(self, request: api_pb2.AppGetTagsRequest, _: Caller) -> api_pb2.AppGetTagsResponse:
        return api_pb2.AppGetTagsResponse(tags=self._state.apps[request.app_id].tags)

    async def ClassGet(self, request: api_pb2.ClassGetRequest, _: Caller) -> api_pb2.ClassGetResponse:
        app = self._app(request.app_name)
        if request.object_tag not in app.classes:
            raise GRPCError(Status.NOT_FOUND, f"app {app.name!r} has no class {request.object_tag!r}")
        return api_pb2.ClassGetResponse(class_id=app.classes[request.object_tag], handle_metadata=api_pb2.ClassHandleMetadata())

    async def FunctionGet(self, request: api_pb2.FunctionGetRequest, _: Caller) -> api_pb2.FunctionGetResponse:
        app = self._app(request.app_name)
        if request.app_version not in (0, app.version):
            raise GRPCError(Status.NOT_FOUND, f"app {app.name!r} has no version {request.app_version}, only {app.version}")
        if request.object_tag not in app.functions:
            raise GRPCError(Status.NOT_FOUND, f"app {app.name!r} has no function {request.object_tag!r}")
        function = self._function(app.functions[request.object_tag])
        return api_pb2.FunctionGetResponse(
            function_id=function.id, handle_metadata=function.metadata(), function=definitions.data(function.ranked)
        )

    async def FunctionBindParams(self, request: api_pb2.FunctionBindParamsRequest, _: Caller) -> api_pb2.FunctionBindParamsResponse:
        """The variant of a function for these parameters and options: the same one for the same request."""
        base = self._function(request.function_id)
        digest = hashlib.sha256(request.SerializeToString(deterministic=True)).hexdigest()[:12]
        variant_id = f"{base.id}-{base.app.version}-{digest}"
        if variant_id not in self._state.functions:
            ranked = base.ranked
            if request.HasField("function_options"):
                ranked = [definitions.with_options(base.definition, request.function_options)]
            self._state.functions[variant_id] = Function(variant_id, base.app, list(ranked), base, request.serialized_params)
        variant = self._state.functions[variant_id]
        return api_pb2.FunctionBindParamsResponse(bound_function_id=variant.id, handle_metadata=variant.metadata())

    async def FunctionGetCurrentStats(self, request: api_pb2.FunctionGetCurrentStatsRequest, _: Caller) -> api_pb2.FunctionStats:
        function = self._function(request.function_id)
        running = sum(len(container.running) for container in function.live)
        return api_pb2.FunctionStats(
            backlog=len(function.queue),
            num_total_tasks=len(function.live),
            num_running_inputs=running,
            input_headroom=max(0, len(function.live) * function.slots - running),
        )

    async def FunctionUpdateSchedulingParams(
        self, request: api_pb2.FunctionUpdateSchedulingParamsRequest, _: Caller
    ) -> api_pb2.FunctionUpdateSchedulingParamsResponse:
        function = self._function(request.function_id)
        function.overrides.MergeFrom(request.settings)
        self._fleet.scale(function)
        return api_pb2.FunctionUpdateSchedulingParamsResponse(current_settings=function.settings)

    async def FunctionGetSchedulingParams(
        self, request: api_pb2.FunctionGetSchedulingParamsRequest, _: Caller
    ) -> api_pb2.FunctionGetSchedulingParamsResponse:
        settings = self._function(request.function_id).settings
        return api_pb2.FunctionGetSchedulingParamsResponse(autoscaler_configuration=api_pb2.AutoscalerConfiguration(settings=settings))

    async def WorkspaceNameLookup(self, request: Empty, _: Caller) -> api_pb2.WorkspaceNameLookupResponse:
        return api_pb2.WorkspaceNameLookupResponse(workspace_name="loopback", username="loopback")

    async def WorkspaceBillingRates(
        self, request: api_pb2.WorkspaceBillingRatesRequest, _: Caller
    ) -> api_pb2.WorkspaceBillingRatesResponse:
        return api_pb2.WorkspaceBillingRatesResponse(rates={card: f"{rate:.8f}" for card, rate in self._ledger.rates.items()})

    def _app(self, name: str) -> App:
        app = self._state.app_named(name)
        if app is None:
            raise GRPCError(Status.NOT_FOUND, f"no app is deployed as {name!r}")
        return app

    def _function(self, function_id: str) -> Function:
        if function_id not in self._state.functions:
            raise GRPCError(Status.NOT_FOUND, f"no function {function_id!r}")
        return self._state.functions[function_id]
