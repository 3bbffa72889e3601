from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from gatewright_controller.model import to_document
from gatewright_controller.resource.claims import Claim
from gatewright_controller.resource.definitions import Definitions, load_definitions
from gatewright_controller.validation import GatewayNames, validate
from gatewright_documents.mistake import Invalid
from gatewright_documents.values import JsonObject
from gatewright_documents.yaml_reader import parse_yaml

ROOT = Path(__file__).parents[3]
BAD = Path(__file__).parents[1] / "testdata" / "bad"
TAKEN = {
    Claim("*", "/taken/v1.0", ""): "taken-api",
    Claim("shop.example", "/taken/v1.0", ""): "shop-api",
    Claim("shop.example", "/inner/v1.0", "inside"): "inner-api",
}
GATEWAY = GatewayNames(certificates=["gateway"], authorities=["internal"], listeners=["public", "inside"])


@pytest.mark.parametrize("path", sorted(BAD.glob("*.bad.yaml")), ids=lambda path: path.name)
def test_every_mistake_has_its_sentence(path: Path, definitions: Definitions) -> None:
    text = path.read_text()
    expected = sorted(line.removeprefix("# expect: ") for line in text.splitlines() if line.startswith("# expect: "))
    with pytest.raises(Invalid) as caught:
        validate(parse_yaml(text.encode()), definitions, TAKEN, names=GATEWAY, is_written=True)
    assert sorted(map(str, caught.value.mistakes)) == expected
    assert expected


@pytest.mark.parametrize("name", ["validate-request", "validate-response"])
def test_a_schema_that_nothing_could_be_held_against_is_refused_at_its_place(
    name: str, tmp_path: Path, orders: JsonObject
) -> None:
    """By the schemas of the policies that ship: a node would leave such an API pending."""
    shutil.copy(ROOT / "policies" / name / "policy-definition.yaml", tmp_path / f"{name}.yaml")
    definitions = load_definitions(tmp_path)

    def attached(schema: JsonObject) -> JsonObject:
        return orders | {"spec": orders["spec"] | {
            "policies": [{"name": name, "version": "v1", "params": {"schema": schema}}],
            "operations": [{"method": "POST", "path": "/x"}],
        }}  # fmt: skip

    with pytest.raises(Invalid) as caught:
        validate(attached({"properties": {"id": {"type": "strin"}}, "required": "id"}), definitions, {})
    assert list(map(str, caught.value.mistakes)) == [
        "spec.policies[0].params.schema.properties.id.type: expected one or a list of array, boolean, integer, null, "
        "number, object, string, got 'strin'",
        "spec.policies[0].params.schema.required: expected an array, got 'id'",
    ]
    assert validate(attached({"properties": {"id": {"type": "string"}}, "required": ["id"]}), definitions, {})


@pytest.mark.parametrize(
    ("listeners", "free"), [([], False), (["inside"], False), (["public", "inside"], False), (["public"], True)]
)
def test_a_context_is_an_apis_on_the_listeners_that_it_names(
    orders: JsonObject, definitions: Definitions, listeners: list[str], free: bool
) -> None:
    """An API that names no listener may be on any, whichever are internal at present."""
    orders["spec"] |= {"context": "/inner/v1.0", "hosts": ["shop.example"], "listeners": listeners}
    if free:
        assert validate(orders, definitions, TAKEN, names=GATEWAY)
        return
    with pytest.raises(Invalid, match=r"expected a context that no other API has on .*, which is inner-api's"):
        validate(orders, definitions, TAKEN, names=GATEWAY)


def test_a_valid_api_keeps_what_was_written(orders: JsonObject, definitions: Definitions) -> None:
    orders["spec"]["policies"][0]["version"] = "v1.0.0"
    assert to_document(validate(orders, definitions, TAKEN)) == orders


def test_what_looks_like_a_parameter_is_refused_where_it_is_written_and_kept_where_it_is_stored(
    orders: JsonObject, definitions: Definitions
) -> None:
    orders["spec"]["operations"] = [{"method": "GET", "path": "/orders/:id"}]
    assert validate(orders, definitions, {})
    with pytest.raises(Invalid, match=r"write '\{id\}' for a parameter, or '%3Aid' for this text"):
        validate(orders, definitions, {}, is_written=True)
    for path in ("/orders/%3Aid", "/orders:batch", "/orders/:1"):
        orders["spec"]["operations"][0]["path"] = path
        assert validate(orders, definitions, {}, is_written=True)


def test_the_same_path_by_another_method_or_depth_is_another_route(
    orders: JsonObject, definitions: Definitions
) -> None:
    paths = [("GET", "/{a}"), ("POST", "/{b}"), ("GET", "/{a}/"), ("GET", "/{a}/{b}"), ("GET", "/a"), ("GET", "/*")]
    orders["spec"]["operations"] = [{"method": method, "path": path} for method, path in paths]
    assert len(validate(orders, definitions, {}).spec.operations) == len(paths)


@pytest.mark.parametrize(
    "document",
    [
        {"spec": None},
        {"spec": []},
        {"spec": {"operations": "x", "policies": {"a": 1}, "upstream": {"main": []}, "context": 3}},
        {"spec": {"operations": [None, 3, {"policies": [None, []]}], "policies": [7]}},
        {"metadata": [], "kind": {}, "apiVersion": None},
    ],
)
def test_any_shape_of_nonsense_is_invalid_and_nothing_worse(document: JsonObject, definitions: Definitions) -> None:
    with pytest.raises(Invalid):
        validate(document, definitions, {})


def test_policies_choose_among_a_bounded_number_of_routes(orders: JsonObject, definitions: Definitions) -> None:
    orders["spec"]["upstream"] = {f"p{at}": {"url": f"http://10.0.0.{at}"} for at in range(100)}
    orders["spec"]["operations"] = [{"method": "GET", "path": f"/{at}", "upstream": "p1"} for at in range(101)]
    with pytest.raises(Invalid) as caught:
        validate(orders, definitions, {})
    assert [str(mistake) for mistake in caught.value.mistakes] == [
        "spec.upstream: expected at most 10000 choices of policies, operations with policies times upstreams, "
        "got 101 times 100, which is 10100; make several APIs of it, or name fewer upstreams"
    ]
    orders["spec"]["operations"][0] |= {"redirect": {"path": "/"}}
    orders["spec"]["operations"][0].pop("upstream")
    validate(orders, definitions, {})
