"""What jsonschema-rs says of a value that a schema refuses, in words for the author of the value."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import jsonschema_rs
from jsonschema_rs import ValidationErrorKind as Kind

from gatewright_documents.mistake import listed, shown
from gatewright_documents.values import JsonValue

TYPES = {"object": "an object", "array": "an array", "integer": "a whole number", "null": "null",
         "string": "a string", "boolean": "true or false", "number": "a number"}  # fmt: skip


CHOICES = {"anyOf": "at least one of {}", "oneOf": "exactly one of {}"}


def key_choice(branches: JsonValue) -> list[str]:
    """The keys between which a schema has its author choose, as `oneOf: [{required: [a]}, {required: [b]}]` does; [] if
    a branch requires anything else than a key."""
    parts = branches if isinstance(branches, list) else []
    keys = [part.get("required", []) if isinstance(part, dict) else [] for part in parts]
    return [str(name) for names in keys for name in names] if all(len(names) == 1 for names in keys) else []


def meant(
    error: jsonschema_rs.ValidationError, branches: Sequence[Sequence[jsonschema_rs.ValidationError]]
) -> Sequence[jsonschema_rs.ValidationError]:
    """The mistakes of the branch that the author had in mind: the only one of the value's own kind."""
    fitting = [branch for branch in branches if not any(_is_other_kind(inner, error) for inner in branch)]
    return fitting[0] if len(fitting) == 1 else []


def _is_other_kind(inner: jsonschema_rs.ValidationError, outer: jsonschema_rs.ValidationError) -> bool:
    here = list(inner.instance_path) == list(outer.instance_path)
    return here and isinstance(inner.kind, Kind.Type | Kind.Enum | Kind.Constant)


def type_words(types: str | Sequence[str]) -> str:
    """A schema's `type`: `a string or a number`; "" where it names none."""
    names = [types] if isinstance(types, str) else types
    return listed([TYPES.get(name, name) for name in names]) if names else ""


def expected_by_kind(kind: Kind) -> str | None:
    """What was expected, by the keyword that is not fulfilled; None where words say no more than jsonschema-rs does."""
    match kind:
        case Kind.Type(types):
            return type_words(types)
        case Kind.Enum(options):
            return listed([shown(option) for option in options])
        case Kind.Constant(value):
            return shown(value)
        case Kind.Pattern(pattern):
            return f"text that matches {pattern}"
        case Kind.Format(name):
            return f"text in the format {name}"
        case Kind.Not(schema):
            return f"what {json.dumps(schema):.80} does not take"
        case Kind.FalseSchema():
            return "nothing"
    return _expected_size(kind)


def _expected_size(kind: Kind) -> str | None:
    sizes: dict[str, Callable[[object], str]] = {
        "minimum": lambda limit: f"at least {limit}",
        "maximum": lambda limit: f"at most {limit}",
        "exclusiveMinimum": lambda limit: f"more than {limit}",
        "exclusiveMaximum": lambda limit: f"less than {limit}",
        "minLength": lambda limit: f"at least {limit} characters",
        "maxLength": lambda limit: f"at most {limit} characters",
        "minItems": lambda limit: f"at least {limit} item{'' if limit == 1 else 's'}",
        "maxItems": lambda limit: f"at most {limit} item{'' if limit == 1 else 's'}",
        "minProperties": lambda limit: f"at least {limit} key{'' if limit == 1 else 's'}",
        "maxProperties": lambda limit: f"at most {limit} key{'' if limit == 1 else 's'}",
    }
    limit = kind.as_dict().get("limit")
    return sizes[kind.name](limit) if kind.name in sizes else None
