"""What holds for every endpoint, whoever declared it."""

import json

import pytest

from deployments import answered, deployments, endpoints, retired
from models.errors import BadRequest, NotConfigured
from serve.bodies import parse
from tests.deployments.bodies import body

ALL = answered(serve_retired=True)
each = pytest.mark.parametrize("endpoint", ALL.values(), ids=list(ALL))


@each
def test_its_smallest_body_makes_a_plan(endpoint):
    request = parse(endpoint.request, json.dumps(body(endpoint)).encode())
    try:
        plan = endpoint.plan(request, 7)
    except NotConfigured:
        assert not endpoint.deployments
        return
    assert all(stage.deployment in deployments() for stage in plan.stages)
    if endpoint.deployments:
        assert tuple(stage.deployment for stage in plan.stages) == endpoint.deployments
    assert all(stage.task.seed == 7 for stage in plan.stages)
    assert all(units > 0 for units in plan.units)


@each
def test_every_field_is_described(endpoint):
    properties = endpoint.request.model_json_schema(by_alias=False)["properties"]
    assert [name for name, schema in properties.items() if not schema.get("description")] == []


@each
def test_an_unknown_field_is_refused_by_name(endpoint):
    with pytest.raises(BadRequest, match="'zzz' is not a field"):
        parse(endpoint.request, json.dumps(body(endpoint) | {"zzz": 1}).encode())


@each
def test_a_missing_required_field_is_refused_by_name(endpoint):
    for name, field in endpoint.request.model_fields.items():
        if field.is_required():
            less = {key: value for key, value in body(endpoint).items() if key != name}
            with pytest.raises(BadRequest, match=f"{name} is required"):
                parse(endpoint.request, json.dumps(less).encode())


def test_request_classes_of_different_shape_have_different_names():
    shapes = {}
    for endpoint in ALL.values():
        shapes.setdefault(endpoint.request.__name__, set()).add(endpoint.request)
    assert {name: classes for name, classes in shapes.items() if len(classes) > 1} == {}


def test_every_deployment_is_used():
    used = {name for endpoint in endpoints().values() for name in endpoint.deployments}
    assert set(deployments()) - used == set()


def test_every_checkpoint_names_a_licence_and_the_files_it_needs():
    for deployment in deployments().values():
        for role, checkpoint in deployment.weights.items():
            assert checkpoint.files, (deployment.name, role)
            assert not any(pattern.endswith((".bin", ".pt", ".pth", ".ckpt")) for pattern in checkpoint.files), (deployment.name, role)


def test_retired_paths_name_an_endpoint_that_answers():
    assert set(retired()) >= {"/wan2", "/flux-instantid", "/z-image-instantid", "/z-image-pulid"}
    assert all(gone.replacement in endpoints() for gone in retired().values())
    assert set(answered(serve_retired=False)) == set(endpoints())
    assert set(ALL) - set(endpoints()) == {"/wan2"}
