"""What two Gateways of the history have different, without any secret."""

from __future__ import annotations

import difflib
from functools import reduce
from typing import Any

from gatewright_documents.secret_masks import MASK
from gatewright_documents.values import JsonObject, JsonValue, KeyPath
from gatewright_documents.yaml_writer import yaml_text

from gatewright_controller.gateway.gateway_masks import PARTS, masked_gateway
from gatewright_controller.store import PastResource

NEW_SECRET = "a new value"  # noqa: S105 - said of one
NOTHING = "/dev/null"
"""The label of a side that is not there."""


def diff_of_gateways(before: PastResource, after: PastResource) -> str:
    """Unified, of the YAML that is shown of both; a secret that changes has a comment behind its mask."""
    new_secrets = [
        path for path in _mask_paths(after.document) if _at(before.document, path) != _at(after.document, path)
    ]
    old, new = gateway_text(before.document), gateway_text(after.document, dict.fromkeys(new_secrets, NEW_SECRET))
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), _label(before), _label(after), lineterm="")
    return "".join(f"{line}\n" for line in lines)


def gateway_text(document: JsonObject | None, comments: dict[KeyPath, str] | None = None) -> str:
    """The YAML of a Gateway without secrets, listeners first; "" of none. comments: behind values, by their paths."""
    if document is None:
        return ""
    shown = masked_gateway(document)
    spec = shown["spec"]
    return yaml_text({**shown, "spec": {"listeners": spec["listeners"], **spec}}, comments)


def _label(past: PastResource) -> str:
    return f"{past.entry.name}@{past.entry.revision}" if past.document is not None else NOTHING


def _mask_paths(document: JsonObject | None) -> list[KeyPath]:
    """Where masks stand in what is shown of it."""
    shown = masked_gateway(document) if document is not None else {}
    parts = [(part, _at(shown, ("spec", part, "headers"))) for part in PARTS]
    return [
        ("spec", part, "headers", name)
        for part, headers in parts
        if isinstance(headers, dict)
        for name, value in headers.items()
        if value == MASK
    ]


def _at(document: JsonObject | None, path: KeyPath) -> JsonValue:
    """What stands there; None where nothing does."""

    def step_into(value: Any, step: str | int) -> Any:
        return value.get(step) if isinstance(value, dict) else None

    return reduce(step_into, path, document)
