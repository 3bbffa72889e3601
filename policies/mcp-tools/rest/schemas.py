"""JSON Schemas of an OpenAPI document, each made whole: what it refers to is in its own `$defs`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from .document import NAMED, VALUES, Document
from .json_schema import Json

NO_SCHEMA = {"discriminator", "xml", "externalDocs", "example", "nullable", "readOnly", "writeOnly", "deprecated"}
"""Members of OpenAPI's that models have no use for."""
_OTHERS = re.compile(r"[^A-Za-z0-9_.-]+")


class Definitions:
    """The `$defs` of one schema, filled as its references are found."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._names: dict[str, str] = {}
        self.schemas: Json = {}

    def schema(self, value: Any) -> Any:
        """The schema with references into `$defs`. ValueError: a reference that leads nowhere, or out of the document.

        Members that only the API writes are not in it: the API ignores or refuses them in a request.
        """
        return self._walk(value, named=False)

    def _walk(self, value: Any, *, named: bool) -> Any:
        if isinstance(value, list):
            return [self._walk(member, named=False) for member in value]
        if not isinstance(value, Mapping):
            return value
        if named:
            return {name: self._walk(part, named=False) for name, part in value.items()}
        walked = {
            name: part if name in VALUES else self._walk(part, named=name in NAMED)
            for name, part in value.items()
            if name not in NO_SCHEMA and name != "$ref" and not name.startswith("x-")
        }
        if isinstance(members := value.get("properties"), Mapping):
            walked["properties"] = {
                name: walked["properties"][name] for name, part in members.items() if not _is_read_only(part)
            }
        if "$ref" in value:
            walked["$ref"] = f"#/$defs/{self._name_of(value['$ref'])}"
        return walked

    def _name_of(self, reference: Any) -> str:
        if not isinstance(reference, str) or not reference.startswith("#/"):
            raise ValueError(f"expected $ref into the document (#/…), got {reference!r}: nothing is fetched")
        if reference in self._names:
            return self._names[reference]
        steps = [unquote(step).replace("~1", "/").replace("~0", "~") for step in reference[2:].split("/")]
        target: Any = self._document.value
        for step in steps:
            target = target.get(step) if isinstance(target, Mapping) else None
        if not isinstance(target, Mapping | bool):
            raise ValueError(f"expected a schema at {reference}, the target of a $ref, got none")
        name = self._names[reference] = unique_name(steps[-1], self.schemas)
        self.schemas[name] = True  # the schema may refer to itself
        self.schemas[name] = self._walk(target, named=False)
        return name


def _is_read_only(schema: Any) -> bool:
    return isinstance(schema, Mapping) and schema.get("readOnly") is True


def unique_name(text: str, taken: Mapping[str, Any], limit: int = 64) -> str:
    """The text as a name of letters, digits, _, - and ., which all models' providers accept, and which is not taken."""
    name = first = _OTHERS.sub("_", text).strip("_")[:limit] or "value"
    number = 2
    while name in taken:
        suffix = f"_{number}"
        name, number = first[: limit - len(suffix)] + suffix, number + 1
    return name
