"""What the tests of imports from Kong share: imports with the policies that ship."""

from __future__ import annotations

import functools
import json
from pathlib import Path

from gatewright_cli.kong import Imported, import_kong
from gatewright_controller.resource.definitions import Definitions, definitions_of
from gatewright_documents.values import JsonObject
from gatewright_documents.yaml_reader import parse_yaml

TESTDATA = Path(__file__).parent / "testdata"
POLICIES = Path(__file__).parents[3] / "policies"
ENVIRONMENT = {"DECK_BOB_KEY": "bob-5d3f1e9c7b0a2c4e6f8d"}


@functools.cache
def shipped() -> Definitions:
    """The definitions of the policies that ship."""
    return definitions_of({path.parent.name: path.read_bytes() for path in POLICIES.glob("*/policy-definition.yaml")})


def import_document(document: JsonObject, *without: str) -> Imported:
    """The import of a document, in the format 3.0 unless it names another."""
    body = json.dumps({"_format_version": "3.0", **document}).encode()
    return import_kong(body, "kong.json", shipped(), ENVIRONMENT, without)


def import_route(**route: object) -> list[JsonObject]:
    """The APIs of one service at http://a.example/base with one route."""
    service = {"name": "s", "url": "http://a.example/base", "retries": 0, "routes": [{"name": "r", **route}]}
    return apis_of(import_document({"services": [service]}))


def import_plugin(name: str, config: JsonObject, **more: object) -> tuple[list[JsonObject], Imported]:
    """The attachments that one global plugin becomes, and the import. more: other top-level lists."""
    document = {"services": [{"name": "s", "url": "http://a.example", "routes": [{"name": "r", "paths": ["/p"]}]}]}
    imported = import_document({**document, "plugins": [{"name": name, "config": config}], **more})
    (api,) = apis_of(imported)
    attachments: list[JsonObject] = api["spec"].get("policies", [])
    return attachments, imported


def apis_of(imported: Imported) -> list[JsonObject]:
    """The APIs as documents, in the order of their contexts."""
    apis = [parse_yaml(text.encode()) for text in imported.apis.values()]
    return sorted(apis, key=lambda api: (api["spec"]["context"], api["spec"].get("hosts", [])))


def outcomes(imported: Imported, outcome: str) -> list[str]:
    """The fields with an outcome."""
    return [entry.field for entry in imported.entries if entry.outcome == outcome]
