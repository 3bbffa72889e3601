"""Errors of a `then` or an `else` whose condition is about a value that is refused itself: the author may mean either
branch, so what one of them says misleads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import jsonschema_rs
from jsonschema_rs import ValidationErrorKind as Kind

from gatewright_documents.values import JsonObject, JsonValue

Path = Sequence[str | int]
Place = tuple[str | int, ...]
BRANCHES = ("then", "else")
OF_A_NAME = ("properties", "patternProperties", "dependentSchemas", "$defs")
OF_A_NUMBER = ("prefixItems", "allOf", "anyOf", "oneOf")
STEPS = ("properties", "patternProperties", "items", "prefixItems")
"""Keywords whose schemas are for what is one step below in the value."""
STEPS_UNLESS_LAST = ("additionalProperties", "unevaluatedProperties", "contains", "unevaluatedItems")
"""The same; as the last of a path they are what was not fulfilled, by the value itself."""


def without_doubtful(
    errors: Sequence[jsonschema_rs.ValidationError], document: JsonObject
) -> Iterator[jsonschema_rs.ValidationError]:
    """The errors without those of a branch whose condition is about a value that another error refuses, one that is in
    no branch itself. document: the schema.
    """
    branches = [(error, _conditions(error, document)) for error in errors]
    refused = {_place(error) for error, conditions in branches if not conditions}
    for error, conditions in branches:
        if refused.isdisjoint(conditions):
            yield error


def _place(error: jsonschema_rs.ValidationError) -> Place:
    """Where a value is refused or missing."""
    missing = [str(error.kind.property)] if isinstance(error.kind, Kind.Required) else []
    return (*error.instance_path, *missing)


def _conditions(error: jsonschema_rs.ValidationError, document: JsonObject) -> list[Place]:
    """What the conditions of the branches that the error is in are about; [] if it is in none."""
    found: list[Place] = []
    here: JsonValue = document
    for number, step in enumerate(error.schema_path):
        condition = here.get("if") if isinstance(here, dict) and step in BRANCHES else None
        if isinstance(condition, dict):
            below = _steps(error.schema_path[number + 1 :])
            value = error.instance_path[: len(error.instance_path) - below]
            found += [(*value, name) for name in condition.get("properties", {})]
        here = here[int(step)] if isinstance(here, list) else here.get(str(step)) if isinstance(here, dict) else None
    return found


def _steps(path: Path) -> int:
    """How far below a schema's value the value of another schema is, which is at this path in the first one."""
    count = at = 0
    while at < len(path):
        keyword = path[at]
        count += keyword in STEPS or (keyword in STEPS_UNLESS_LAST and at + 1 < len(path))
        at += 2 if keyword in (*OF_A_NAME, *OF_A_NUMBER) else 1
    return count
