"""The resources as JSON Schemas for editors, made of the structs of `model`, and of the policies that a build has."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from gatewright_documents.definition_schema import definition_schema
from gatewright_documents.editor_schema import editor_schema
from gatewright_documents.values import JsonObject, JsonValue

from gatewright_controller.model import (
    Api,
    Consumer,
    ConsumerPlan,
    Defaults,
    Gateway,
    Namespace,
    NodeGateway,
    Secret,
)
from gatewright_controller.resource.definitions import Definition, Definitions
from gatewright_controller.resource.exchange_filter import ExchangeFilter

ATTACHMENT = "PolicyAttachment"
VALUES = ("const", "default", "enum", "examples")
"""Keywords of a schema that hold values, and no schemas."""
NAMED = ("$defs", "dependentSchemas", "patternProperties", "properties")
"""Keywords that hold schemas by names, which are no keywords."""
OF_A_DOCUMENT = ("$id", "$schema")
"""Keywords of a schema that is a document of its own."""


def api_schema(definitions: Definitions | None = None) -> JsonObject:
    """An Api. With definitions its policies are those, in these versions, and `params` what each of them takes."""
    schema = editor_schema(Api, "Gatewright Api")
    if definitions is not None:
        _name_policies(schema["$defs"], definitions)
    return schema


def gateway_schema() -> JsonObject:
    """A Gateway: what a node listens on."""
    return editor_schema(Gateway, "Gatewright Gateway")


def defaults_schema() -> JsonObject:
    """Defaults: what APIs get beside what they say."""
    return editor_schema(Defaults, "Gatewright Defaults")


def namespace_schema() -> JsonObject:
    """A Namespace: contexts and hosts of a team."""
    return editor_schema(Namespace, "Gatewright Namespace")


def node_gateway_schema() -> JsonObject:
    """A NodeGateway: what nodes with some labels listen on."""
    return editor_schema(NodeGateway, "Gatewright NodeGateway")


def secret_schema() -> JsonObject:
    """A Secret: values that are kept and never shown."""
    return editor_schema(Secret, "Gatewright Secret")


def consumer_schema() -> JsonObject:
    """A Consumer: a client of APIs."""
    return editor_schema(Consumer, "Gatewright Consumer")


def plan_schema() -> JsonObject:
    """A Plan: what consumers may use."""
    return editor_schema(ConsumerPlan, "Gatewright Plan")


def exchange_filter_schema() -> JsonObject:
    """Which exchanges are recorded, or shown, by the management API."""
    return editor_schema(ExchangeFilter, "Filter of exchanges")


SCHEMAS: dict[str, Callable[[], JsonObject]] = {
    "api": api_schema,
    "consumer": consumer_schema,
    "defaults": defaults_schema,
    "exchange-filter": exchange_filter_schema,
    "gateway": gateway_schema,
    "namespace": namespace_schema,
    "nodegateway": node_gateway_schema,
    "plan": plan_schema,
    "policy-definition": definition_schema,
    "secret": secret_schema,
}
"""By the kind of document: all that the management API reads."""


def _name_policies(defs: JsonObject, definitions: Definitions) -> None:
    attachment, known = defs[ATTACHMENT], list(definitions)
    name = attachment["properties"]["name"]
    versions: dict[str, list[str]] = {definition.name: [] for definition in known}
    for definition in known:
        versions[definition.name] += _versions(definition, known)
    attachment["properties"]["name"] = {**name, "enum": list(versions)}
    attachment["allOf"] = [
        *(
            _rule({"name": {"const": name}}, {"properties": {"version": {"enum": enum}}})
            for name, enum in versions.items()
        ),
        *(_params_rule(definition, _versions(definition, known), defs) for definition in known),
    ]


def _versions(definition: Definition, known: Iterable[Definition]) -> list[str]:
    """How an attachment asks for it: its exact version, and of its major version if it is the newest."""
    major = definition.version.partition(".")[0]
    newest = [other for other in known if other.name == definition.name and other.version.startswith(f"{major}.")][-1]
    return [major, definition.version] if newest is definition else [definition.version]


def _params_rule(definition: Definition, versions: list[str], defs: JsonObject) -> JsonObject:
    """Where an attachment names it, `params` is what its definition says."""
    key = f"params-{definition.name}-{definition.version}"
    defs[key] = _embedded(definition.parameters.document, f"#/$defs/{key}")
    wanted: JsonObject = {"properties": {"params": {"$ref": f"#/$defs/{key}"}}}
    if defs[key].get("required"):
        wanted["required"] = ["params"]
    return _rule({"name": {"const": definition.name}, "version": {"enum": versions}}, wanted)


def _rule(named: JsonObject, wanted: JsonObject) -> JsonObject:
    return {"if": {"properties": named, "required": list(named)}, "then": wanted}


def _embedded(schema: JsonValue, place: str) -> JsonValue:
    """A schema as it reads at a place of another one; what has a default may be left out, as it is filled in before."""
    if isinstance(schema, list):
        return [_embedded(item, place) for item in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: _inner(key, value, place) for key, value in schema.items() if key not in OF_A_DOCUMENT}
    if isinstance(reference := inner.get("$ref"), str) and reference.startswith("#"):
        inner["$ref"] = place + reference[1:]
    properties, required = inner.get("properties"), inner.get("required")
    if isinstance(properties, dict) and isinstance(required, list):
        inner["required"] = [name for name in required if "default" not in _object(properties.get(name))]
    return inner


def _inner(keyword: str, value: JsonValue, place: str) -> JsonValue:
    if keyword in VALUES:
        return value
    if keyword in NAMED and isinstance(value, dict):
        return {name: _embedded(subschema, place) for name, subschema in value.items()}
    return _embedded(value, place)


def _object(value: JsonValue) -> JsonObject:
    return value if isinstance(value, dict) else {}
