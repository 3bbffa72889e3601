"""The reference of a Gateway's fields, made from the model: what each takes, its default, Envoy's field behind it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from gatewright_controller.gateway.gateway_file import variable_of
from gatewright_controller.model import Gateway, GatewaySpec
from gatewright_controller.model.settings_fields import SettingsField, settings_fields

INTRODUCTION = """
One for each controller: `gateway.yaml` beside `build.yaml`, or by the management API.
[What a node listens on](../how-to/gateway.md) shows how it is used.

    apiVersion: gatewright.dev/v1
    kind: Gateway
    spec: {}

Every field has a default; unknown fields are refused.
A variable goes before the file, and an option of `gatewright run` before both.
All fields change while the node runs, but for those that say *restart*: they stand in Envoy's bootstrap.
OCSP stapling is left out: certificates are renewed more often than its answers were worth.
No header for HSTS is added; a policy of the API may.
""".strip()

Words = Callable[[dict[str, Any]], str]


def sections(takes: Words) -> Iterator[str]:
    """The sections of the page, one for each object. takes: what a schema lets a value be, in words."""
    fields = list(settings_fields(GatewaySpec, ("spec",)))
    schemas = msgspec.json.schema(Gateway)["$defs"]
    for place in dict.fromkeys(map(_place, fields)):
        inside = (field for field in fields if _place(field) == place)
        rows = "\n".join(_row(field, _schema(field, schemas), takes) for field in inside)
        yield f"## {_title(place)}\n\n{HEAD}\n{rows}"
    titles = ((variable_of(field), _title(field.path)) for field in fields)
    rows = "\n".join(f"| `{variable}` | `{path}` |" for variable, path in titles if variable)
    yield f"## Variables\n\n| variable | field |\n| --- | --- |\n{rows}"


HEAD = "| key | takes | default | meaning | Envoy's field |\n| --- | --- | --- | --- | --- |"


def _place(field: SettingsField) -> tuple[str, ...]:
    return field.path[:-1]


def _title(path: tuple[str, ...]) -> str:
    return ".".join(path).replace(".[]", "[]")


def _schema(field: SettingsField, schemas: dict[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = schemas[field.owner]["properties"][field.path[-1]]
    return properties


def _row(field: SettingsField, schema: dict[str, Any], takes: Words) -> str:
    restart = " *Restart.*" if field.restart else ""
    rules = {key: value for key, value in schema.items() if key != "description"}
    values = "fields of its own" if field.kind != "value" else takes(rules)
    cells = (f"`{field.path[-1]}`", values, _default(field), field.comment + restart, _code(field.behind))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(field: SettingsField) -> str:
    if field.required:
        return "required"
    if field.kind in ("struct", "choice") or field.default is msgspec.UNSET:
        return ""
    if field.kind == "list" and field.default:
        return "one, of defaults"
    return _code(field.default if isinstance(field.default, str) else json.dumps(field.default))


def _code(text: object) -> str:
    return f"`{text}`" if text else ""
