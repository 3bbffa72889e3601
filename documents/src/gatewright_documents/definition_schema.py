"""policy-definition.yaml as a JSON Schema for editors, made of the SDK's rules: `gatewright.definition` holds the file
to them.
"""

from __future__ import annotations

from collections.abc import Mapping

from gatewright.access import ANY, ENTRY, FILE_KINDS, HOST_PORT_PATTERN, NONE, PATH, PATH_PATTERN, UNIX
from gatewright.definition import DEFINITION_KEYS, MODE_KEYS, KeyRule

from gatewright_documents.editor_schema import document_schema
from gatewright_documents.values import JsonObject

TYPES = {str: "string", bool: "boolean", Mapping: "object"}
SCHEMAS = ("parameters", "systemParameters")


def definition_schema() -> JsonObject:
    """The schema of a policy's definition, for editors."""
    document = _object(DEFINITION_KEYS)
    properties: JsonObject = document["properties"]
    properties["processingMode"] = {**_object(MODE_KEYS), "description": properties["processingMode"]["description"]}
    for key in SCHEMAS:
        properties[key] = {**properties[key], "properties": {"type": {"const": "object"}}}
    properties |= _access()
    of_go: JsonObject = {"properties": {"runtime": {"const": "go"}}, "required": ["runtime"]}
    document["if"], document["then"] = of_go, {"properties": {"files": False, "network": False}}
    return document_schema(document, "policy-definition.yaml")


def _object(rules: Mapping[str, KeyRule]) -> JsonObject:
    return {
        "type": "object",
        "required": [key for key, rule in rules.items() if rule.required],
        "additionalProperties": False,
        "properties": {key: _property(rule) for key, rule in rules.items()},
    }


def _property(rule: KeyRule) -> JsonObject:
    kind: JsonObject = {"enum": [*map(str, rule.kind)]} if isinstance(rule.kind, tuple) else {"type": TYPES[rule.kind]}
    limits: JsonObject = {"pattern": rule.pattern} if rule.pattern else {}
    default: JsonObject = {} if rule.required else {"default": rule.default}
    words = f"{rule.cure[0].upper()}{rule.cure[1:]}."
    return {"description": words, **kind, **limits, **default, "x-expected": rule.expected, "x-cure": rule.cure}


def _access() -> JsonObject:
    paths = {"type": "array", "items": {"type": "string", "pattern": PATH_PATTERN, "x-expected": PATH}}
    entry = {"anyOf": [{"enum": [ANY, UNIX]}, {"type": "string", "pattern": HOST_PORT_PATTERN}], "x-expected": ENTRY}
    return {
        "files": {
            "description": "What a Python policy's process reads and writes beyond what every policy has.",
            "type": "object",
            "additionalProperties": False,
            "properties": dict.fromkeys(FILE_KINDS, paths),
        },
        "network": {
            "description": "Whom a Python policy's process may ask.",
            "anyOf": [{"enum": [ANY, NONE]}, {"type": "array", "minItems": 1, "items": entry}],
            "default": ANY,
        },
    }
