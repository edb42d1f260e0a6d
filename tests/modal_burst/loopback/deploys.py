"""RPCs of `modal deploy`: mounts, images, volumes, functions and classes, and their publication as an app."""

import hashlib
import time

from google.protobuf.empty_pb2 import Empty
from modal_proto import api_pb2
from modal_proto.api_pb2 import GenericResult

from tests.modal_burst.loopback import definitions
from tests.modal_burst.loopback.fleet import Fleet
from tests.modal_burst.loopback.rpc import Caller
from tests.modal_burst.loopback.state import App, Function, State


class Deploys:
    """Takes in what the CLI uploads. Images are recorded, never built."""

    def __init__(self, state: State, fleet: Fleet) -> None:
        self._state = state
        self._fleet = fleet

    async def AppGetByDeploymentName(
        self, request: api_pb2.AppGetByDeploymentNameRequest, _: Caller
    ) -> api_pb2.AppGetByDeploymentNameResponse:
        app = self._state.app_named(request.name)
        return api_pb2.AppGetByDeploymentNameResponse(app_id=app.id if app else "")

    async def AppCreate(self, request: api_pb2.AppCreateRequest, _: Caller) -> api_pb2.AppCreateResponse:
        app = App(self._state.new_id("ap"), request.description)
        self._state.apps[app.id] = app
        return api_pb2.AppCreateResponse(app_id=app.id, app_page_url="http://loopback/app", app_logs_url="http://loopback/logs")

    async def AppGetLayout(self, request: api_pb2.AppGetLayoutRequest, _: Caller) -> api_pb2.AppGetLayoutResponse:
        app = self._state.apps[request.app_id]
        layout = api_pb2.AppLayout(function_ids=app.functions, class_ids=app.classes)
        return api_pb2.AppGetLayoutResponse(app_layout=layout)

    async def AppHeartbeat(self, request: api_pb2.AppHeartbeatRequest, _: Caller) -> Empty:
        return Empty()

    async def AppClientDisconnect(self, request: api_pb2.AppClientDisconnectRequest, _: Caller) -> Empty:
        return Empty()

    async def AppPublish(self, request: api_pb2.AppPublishRequest, _: Caller) -> api_pb2.AppPublishResponse:
        """The new version serves from now on; containers of the old one go once they are idle."""
        app = self._state.apps[request.app_id]
        app.name, app.tags = request.name, dict(request.tags)
        app.version += 1
        app.functions, app.classes = dict(request.function_ids), dict(request.class_ids)
        for function in self._state.functions.values():
            if function.app is app:
                self._fleet.retire(function)
        return api_pb2.AppPublishResponse(url="http://loopback/app", deployed_at=time.time())

    async def MountGetOrCreate(self, request: api_pb2.MountGetOrCreateRequest, _: Caller) -> api_pb2.MountGetOrCreateResponse:
        """A mount of uploaded files; one asked for by name (the client library's own) is empty, since containers run in our environment."""
        mount_id = self._state.new_id("mo")
        self._state.mounts[mount_id] = list(request.files)
        return api_pb2.MountGetOrCreateResponse(mount_id=mount_id, handle_metadata=api_pb2.MountHandleMetadata())

    async def MountBatchedCheckExistence(
        self, request: api_pb2.MountBatchedCheckExistenceRequest, _: Caller
    ) -> api_pb2.MountBatchedCheckExistenceResponse:
        missing = [digest for digest in request.sha256_hex_hashes if digest not in self._state.files]
        return api_pb2.MountBatchedCheckExistenceResponse(missing_sha256_hex_hashes=missing)

    async def MountPutFile(self, request: api_pb2.MountPutFileRequest, _: Caller) -> api_pb2.MountPutFileResponse:
        data = self._state.blobs[request.data_blob_id] if request.data_blob_id else request.data
        if hashlib.sha256(data).hexdigest() != request.sha256_hex:
            return api_pb2.MountPutFileResponse(exists=False)
        self._state.files[request.sha256_hex] = data
        return api_pb2.MountPutFileResponse(exists=True)

    async def ImageGetOrCreate(self, request: api_pb2.ImageGetOrCreateRequest, _: Caller) -> api_pb2.ImageGetOrCreateResponse:
        image_id = self._state.new_id("im")
        self._state.images[image_id] = request.image
        built = GenericResult(status=GenericResult.GENERIC_STATUS_SUCCESS)
        metadata = api_pb2.ImageMetadata(image_builder_version=request.builder_version)
        return api_pb2.ImageGetOrCreateResponse(image_id=image_id, result=built, metadata=metadata)

    async def VolumeGetOrCreate(self, request: api_pb2.VolumeGetOrCreateRequest, _: Caller) -> api_pb2.VolumeGetOrCreateResponse:
        name = request.deployment_name
        volume_id = self._state.volumes.setdefault(name, f"vo-{name}")
        metadata = api_pb2.VolumeMetadata(name=name, version=request.version)
        return api_pb2.VolumeGetOrCreateResponse(volume_id=volume_id, version=request.version, metadata=metadata)

    async def SecretGetOrCreate(self, request: api_pb2.SecretGetOrCreateRequest, _: Caller) -> api_pb2.SecretGetOrCreateResponse:
        secret_id = self._state.new_id("st")
        self._state.secrets[secret_id] = dict(request.env_dict)
        return api_pb2.SecretGetOrCreateResponse(secret_id=secret_id)

    async def FunctionPrecreate(self, request: api_pb2.FunctionPrecreateRequest, _: Caller) -> api_pb2.FunctionPrecreateResponse:
        function_id = request.existing_function_id or self._state.new_id("fu")
        draft = api_pb2.Function(
            function_name=request.function_name, function_type=request.function_type, method_definitions=request.method_definitions
        )
        metadata = definitions.metadata(draft, request.app_id, "")
        return api_pb2.FunctionPrecreateResponse(function_id=function_id, handle_metadata=metadata)

    async def FunctionCreate(self, request: api_pb2.FunctionCreateRequest, _: Caller) -> api_pb2.FunctionCreateResponse:
        ranked = [r.function for r in request.function_data.ranked_functions] if request.HasField("function_data") else [request.function]
        function_id = request.existing_function_id or self._state.new_id("fu")
        known = self._state.functions.get(function_id)
        if known is None:
            known = self._state.functions[function_id] = Function(function_id, self._state.apps[request.app_id], ranked)
        known.ranked, known.overrides = ranked, api_pb2.AutoscalerSettings()
        return api_pb2.FunctionCreateResponse(
            function_id=function_id, function=known.definition, handle_metadata=known.metadata(), function_data=definitions.data(ranked)
        )

    async def ClassCreate(self, request: api_pb2.ClassCreateRequest, _: Caller) -> api_pb2.ClassCreateResponse:
        class_id = request.existing_class_id or self._state.new_id("cs")
        return api_pb2.ClassCreateResponse(class_id=class_id, handle_metadata=api_pb2.ClassHandleMetadata())
