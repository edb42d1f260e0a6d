"""Modal's messages about a function, made from its definition."""

from collections.abc import Sequence

from google.protobuf.message import Message
from modal_proto import api_pb2

SHARED = [f.name for f in api_pb2.FunctionData.DESCRIPTOR.fields if f.name in api_pb2.Function.DESCRIPTOR.fields_by_name]
OVERRIDES = (
    "concurrency_limit",
    "timeout_secs",
    "task_idle_timeout_secs",
    "max_concurrent_inputs",
    "target_concurrent_inputs",
    "retry_policy",
)


def copy_set(source: Message, target: Message, names: Sequence[str]) -> None:
    """Copy the named fields that are set in `source`."""
    part = type(target)()
    for descriptor, value in source.ListFields():
        if descriptor.name in names:
            if descriptor.is_repeated or descriptor.message_type:
                getattr(part, descriptor.name).MergeFrom(value)
            else:
                setattr(part, descriptor.name, value)
    target.MergeFrom(part)


def metadata(definition: api_pb2.Function, app_id: str, base_id: str) -> api_pb2.FunctionHandleMetadata:
    """What a client holds of a function, with its methods if it is a class's service function."""
    methods = {
        name: api_pb2.FunctionHandleMetadata(
            function_name=method.function_name,
            function_type=method.function_type,
            is_method=True,
            use_method_name=name,
            function_schema=method.function_schema,
            supported_input_formats=method.supported_input_formats,
            supported_output_formats=method.supported_output_formats,
        )
        for name, method in definition.method_definitions.items()
    }
    return api_pb2.FunctionHandleMetadata(
        function_name=definition.function_name,
        function_type=definition.function_type,
        class_parameter_info=definition.class_parameter_info,
        function_schema=definition.function_schema,
        supported_input_formats=definition.supported_input_formats,
        supported_output_formats=definition.supported_output_formats,
        method_handle_metadata=methods,
        definition_id=f"de-{app_id}-{definition.function_name}",
        app_id=app_id,
        base_function_id=base_id,
    )


def data(ranked: Sequence[api_pb2.Function]) -> api_pb2.FunctionData:
    """The shape in which 1.6 clients read a definition: what all cards share, and one function a card."""
    result = api_pb2.FunctionData()
    copy_set(ranked[0], result, SHARED)
    result.ranked_functions.extend(api_pb2.FunctionData.RankedFunction(rank=i, function=f) for i, f in enumerate(ranked))
    return result


def with_options(definition: api_pb2.Function, options: api_pb2.FunctionOptions) -> api_pb2.Function:
    """The definition of a variant made by `with_options`."""
    variant = api_pb2.Function()
    variant.CopyFrom(definition)
    copy_set(options, variant, OVERRIDES)
    if options.resources.gpu_config.gpu_type:
        variant.resources.gpu_config.CopyFrom(options.resources.gpu_config)
    if options.HasField("concurrency_limit"):
        variant.autoscaler_settings.max_containers = options.concurrency_limit
    if options.HasField("buffer_containers"):
        variant.autoscaler_settings.buffer_containers = options.buffer_containers
    if options.HasField("task_idle_timeout_secs"):
        variant.autoscaler_settings.scaledown_window = options.task_idle_timeout_secs
    if options.replace_volume_mounts:
        del variant.volume_mounts[:]
        variant.volume_mounts.extend(options.volume_mounts)
    if options.replace_secret_ids:
        variant.secret_ids[:] = options.secret_ids
    return variant


def settings(definition: api_pb2.Function, overrides: api_pb2.AutoscalerSettings) -> api_pb2.AutoscalerSettings:
    """What the decorator said, with what was changed since on top."""
    merged = api_pb2.AutoscalerSettings()
    merged.CopyFrom(definition.autoscaler_settings)
    merged.MergeFrom(overrides)
    return merged


def card(definition: api_pb2.Function) -> str:
    """The card's name in the rate table; "CPU" for none."""
    gpu = definition.resources.gpu_config
    return gpu.gpu_type if gpu.count else "CPU"
