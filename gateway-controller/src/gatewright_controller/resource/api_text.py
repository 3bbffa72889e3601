"""An API as YAML for people: in the order in which one reads it, whatever order it was written in."""

from __future__ import annotations

from collections.abc import Mapping

from gatewright_documents.values import JsonObject, JsonValue, KeyPath
from gatewright_documents.yaml_writer import yaml_text

SPEC_FIRST = ("displayName", "version", "context", "hosts", "upstream")
OPERATION_FIRST = ("method", "path", "headers", "query")
LAST = ("policies", "operations")


def api_text(document: JsonObject, comments: Mapping[KeyPath, str] | None = None) -> str:
    """The document of a valid API; what it says is read again as the same.

    comments: each behind the value that stands at its path, one that holds no others.
    """
    spec = _ordered(document["spec"], SPEC_FIRST)
    spec["operations"] = [_ordered(operation, OPERATION_FIRST) for operation in spec["operations"]]
    return yaml_text({**document, "spec": spec}, comments)


def _ordered(value: JsonObject, first: tuple[str, ...]) -> dict[str, JsonValue]:
    middle = [key for key in value if key not in first and key not in LAST]
    return {key: value[key] for key in (*first, *middle, *LAST) if key in value}
