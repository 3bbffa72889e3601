"""JSON Schema 2020-12 as policies use it: unknown keys are refused unless the schema allows them, defaults are applied.

jsonschema-rs validates; closing a schema, applying its defaults and saying what was expected is done here.
"""

from __future__ import annotations

import bisect
import copy
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

import jsonschema_rs
from jsonschema_rs import ValidationErrorKind as Kind

from gatewright_controller.mistake import Mistake, listed, place, shown
from gatewright_controller.model import JsonObject, JsonValue

IN_PLACE = ("allOf", "anyOf", "oneOf")
NOTHING: JsonObject = {"type": "object", "properties": {}}
"""The schema of a policy that takes no parameters."""

MASK = "********"
"""Stands for a value that is written and never shown."""

TYPES = {"object": "an object", "array": "an array", "integer": "a whole number", "null": "null",
         "string": "a string", "boolean": "true or false", "number": "a number"}  # fmt: skip


class Schema:
    """A compiled schema. Raises `ValueError` if it is not one, or refers to another document."""

    def __init__(self, schema: JsonObject | None, *, close: bool = True) -> None:
        written = schema or NOTHING
        jsonschema_rs.Draft202012Validator(written, offline=True)  # only a right schema can be closed
        self.document = _closed(written) if close else written
        self._validator = jsonschema_rs.Draft202012Validator(self.document, offline=True)

    def mistakes(self, value: JsonValue, root: str, *, confided: bool = False) -> Iterator[Mistake]:
        """Everything about `value` that the schema refuses; `root` is the path of `value` in its document.

        No mistake shows what the schema calls a secret; of a value that is `confided` none shows more than the keys
        that the schema names.
        """
        public = _confided(value, [self.document], self.document) if confided else self.masked(value)
        for error in self._validator.iter_errors(value):
            yield from self._told(error, root, public)

    def masked(self, value: JsonValue) -> JsonValue:
        """The value as it may be shown: where the schema says `writeOnly` or `format: password`, a mask."""
        return _masked(value, [self.document], self.document)

    def restored(self, value: JsonValue, stored: JsonValue) -> JsonValue:
        """The value with what is stored in the place of masks. Items of a list are known by what of them is shown."""
        return _restored(value, stored, self.masked(value), self.masked(stored))

    def with_defaults(self, value: JsonObject) -> JsonObject:
        """A copy of `value` in which what is missing has the schema's default."""
        filled = _filled(copy.deepcopy(value), self.document, self.document)
        assert isinstance(filled, dict)
        return filled

    def _told(self, error: jsonschema_rs.ValidationError, root: str, public: JsonValue) -> Iterator[Mistake]:
        path = _public_path(error.instance_path, public)
        match error.kind:
            case Kind.AnyOf(branches) | Kind.OneOfNotValid(branches) if meant := _meant(error, branches):
                for inner in meant:
                    yield from self._told(inner, root, public)
            case Kind.Required(name):
                yield Mistake(place([*path, str(name)], root), "is required")
            case Kind.AdditionalProperties() | Kind.UnevaluatedProperties() if _within(public, path) == MASK:
                yield Mistake(place(path, root), "has keys that are unknown")
            case Kind.AdditionalProperties(names) | Kind.UnevaluatedProperties(names):
                known = _known_keys(self._at(error.schema_path[:-1]), self.document)
                for name in sorted(set(names) - set(known)):
                    yield Mistake(place([*path, name], root), f"is unknown; known are {_names(known)}")
            case _:
                yield Mistake(place(path, root), self._sentence(error, _within(public, error.instance_path)))

    def _sentence(self, error: jsonschema_rs.ValidationError, public: JsonValue) -> str:
        expected = self._hint(error.schema_path[:-1]) or _expected(error.kind)
        if expected:
            return f"expected {expected}, got {shown(public)}"
        return error.message if public == error.instance else f"expected another value than {shown(public)}"

    def _hint(self, path: Sequence[str | int]) -> str | None:
        hint = self._at(path).get("x-expected")
        return hint if isinstance(hint, str) else None

    def _at(self, path: Sequence[str | int]) -> JsonObject:
        found: JsonValue = self.document
        for step in path:
            found = found[int(step)] if isinstance(found, list) else found.get(str(step), {})
        return found if isinstance(found, dict) else {}


def _public_path(path: Sequence[str | int], public: JsonValue) -> list[str | int]:
    """The path as far as it may be shown: not into what has a mask."""
    shown: list[str | int] = []
    for step in path:
        if public == MASK or (isinstance(public, dict) and step not in public):
            break
        shown.append(step)
        public = public[step]
    return shown


def _within(value: JsonValue, path: Sequence[str | int]) -> JsonValue:
    """What stands at the path; a mask for all that is inside of one."""
    for step in path:
        if value == MASK or (isinstance(value, dict) and step not in value):
            return MASK
        value = value[step]
    return value


def _meant(
    error: jsonschema_rs.ValidationError, branches: Sequence[Sequence[jsonschema_rs.ValidationError]]
) -> Sequence[jsonschema_rs.ValidationError]:
    """The branch that the author had in mind: the only one of the value's own kind. Its mistakes tell more."""
    fitting = [branch for branch in branches if not any(_is_other_kind(inner, error) for inner in branch)]
    return fitting[0] if len(fitting) == 1 else []


def _is_other_kind(inner: jsonschema_rs.ValidationError, outer: jsonschema_rs.ValidationError) -> bool:
    here = list(inner.instance_path) == list(outer.instance_path)
    return here and isinstance(inner.kind, Kind.Type | Kind.Enum | Kind.Constant)


def _names(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "none"


def _expected(kind: Kind) -> str | None:
    match kind:
        case Kind.Type(types):
            return listed([TYPES.get(name, name) for name in types])
        case Kind.Enum(options):
            return listed([shown(option) for option in options])
        case Kind.Constant(value):
            return shown(value)
        case Kind.Pattern(pattern):
            return f"text that matches {pattern}"
        case Kind.Format(name):
            return f"text in the format {name}"
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
    }
    limit = kind.as_dict().get("limit")
    return sizes[kind.name](limit) if kind.name in sizes else None


def _known_keys(schema: JsonObject, root: JsonObject) -> list[str]:
    return sorted({key for part in _in_place(schema, root) for key in part.get("properties", {})})


def _in_place(schema: JsonValue, root: JsonObject, seen: frozenset[str] = frozenset()) -> Iterator[JsonObject]:
    """The schema and all that it applies to the same value."""
    if not isinstance(schema, dict):
        return
    yield schema
    for keyword in IN_PLACE:
        for part in schema.get(keyword, []):
            yield from _in_place(part, root, seen)
    for keyword in ("if", "then", "else"):
        yield from _in_place(schema.get(keyword), root, seen)
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference not in seen:
        yield from _in_place(_resolved(reference, root), root, seen | {reference})


def _resolved(reference: str, root: JsonObject) -> JsonValue:
    """A reference into the schema itself; others are left to the validator, which is offline and refuses them."""
    if not reference.startswith("#"):
        return None
    found: JsonValue = root
    for step in reference[1:].split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, dict) or key not in found:
            return None
        found = found[key]
    return found


def _closed(schema: JsonObject) -> JsonObject:
    """The schema with `unevaluatedProperties: false` wherever it lists an object's properties and says no more."""
    closed = copy.deepcopy(schema)
    _close(closed, closed)
    for definition in closed.get("$defs", {}).values():
        _close_below(definition, closed)
    return closed


def _close(schema: JsonValue, root: JsonObject) -> None:
    if not isinstance(schema, dict):
        return
    parts = list(_in_place(schema, root))
    said = any(key in part for part in parts for key in ("additionalProperties", "unevaluatedProperties"))
    if any("properties" in part for part in parts) and not said:
        schema["unevaluatedProperties"] = False
    _close_below(schema, root)


def _close_below(schema: JsonValue, root: JsonObject) -> None:
    """Closes what describes the parts of the value. In-place parts stay open: the schema around them closes."""
    if not isinstance(schema, dict):
        return
    for child in _children(schema, ("properties", "patternProperties"), ("items", "additionalProperties", "contains"),
                           ("prefixItems",)):  # fmt: skip
        _close(child, root)
    for child in _children(schema, (), ("then", "else"), IN_PLACE):
        _close_below(child, root)


def _children(
    schema: JsonObject, named: Sequence[str], single: Sequence[str], several: Sequence[str]
) -> Iterator[JsonValue]:
    for keyword in named:
        yield from schema.get(keyword, {}).values()
    yield from (schema.get(keyword) for keyword in single)
    for keyword in several:
        yield from schema.get(keyword, [])


def _filled(value: JsonValue, schema: JsonValue, root: JsonObject) -> JsonValue:
    for part in _certain(schema, root):
        if isinstance(value, dict):
            _fill_object(value, part, root)
        elif isinstance(value, list) and "items" in part:
            value = [_filled(item, part["items"], root) for item in value]
    return value


def _fill_object(value: JsonObject, schema: JsonObject, root: JsonObject) -> None:
    for name, child in schema.get("properties", {}).items():
        if name not in value and isinstance(child, dict) and "default" in child:
            value[name] = copy.deepcopy(child["default"])
        if name in value:
            value[name] = _filled(value[name], child, root)


def _certain(schema: JsonValue, root: JsonObject, seen: frozenset[str] = frozenset()) -> Iterator[JsonObject]:
    """What surely holds for the value. A default in a branch that may not apply is not applied."""
    if not isinstance(schema, dict):
        return
    yield schema
    for part in schema.get("allOf", []):
        yield from _certain(part, root, seen)
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference not in seen:
        yield from _certain(_resolved(reference, root), root, seen | {reference})


def _masked(value: JsonValue, schemas: Sequence[JsonValue], root: JsonObject) -> JsonValue:
    """A copy of the value with the mask in the place of each secret.

    Whatever may apply to a value counts, also a branch that does not hold: better a mask too many than a secret.
    """
    parts = [part for schema in schemas for part in _in_place(schema, root)]
    if any(part.get("writeOnly") is True or part.get("format") == "password" for part in parts):
        return MASK
    if isinstance(value, dict):
        return {key: _masked(item, _of_key(key, parts), root) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(item, _of_item(index, parts), root) for index, item in enumerate(value)]
    return value


def _confided(value: JsonValue, schemas: Sequence[JsonValue], root: JsonObject) -> JsonValue:
    """A mask for each value that holds no others, and for each object whose keys are not the schema's own."""
    parts = [part for schema in schemas for part in _in_place(schema, root)]
    if isinstance(value, list):
        return [_confided(item, _of_item(index, parts), root) for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return MASK
    named = {key for part in parts for key in part.get("properties", {})}
    return {key: _confided(item, _of_key(key, parts), root) for key, item in value.items() if key in named}


def _of_key(key: str, parts: Sequence[JsonObject]) -> list[JsonValue]:
    found: list[JsonValue] = []
    for part in parts:
        found.append(part.get("properties", {}).get(key))
        found += [schema for pattern, schema in part.get("patternProperties", {}).items() if re.search(pattern, key)]
        found += [part.get("additionalProperties"), part.get("unevaluatedProperties")]
        found.append(part.get("dependentSchemas", {}).get(key))
    return found


def _of_item(index: int, parts: Sequence[JsonObject]) -> list[JsonValue]:
    found: list[JsonValue] = []
    for part in parts:
        found += part.get("prefixItems", [])[index : index + 1]
        found += [part.get(keyword) for keyword in ("items", "contains", "unevaluatedItems")]
    return found


def _restored(value: JsonValue, stored: JsonValue, public: JsonValue, stored_public: JsonValue) -> JsonValue:
    """`public` and `stored_public` are what of both is shown: where the first is a mask, the value is a secret."""
    if public == MASK and value == MASK:
        return stored if stored_public == MASK else value
    if isinstance(value, dict) and isinstance(stored, dict):
        return {
            key: _restored(item, stored[key], public[key], stored_public[key]) if key in stored else item
            for key, item in value.items()
        }
    if isinstance(value, list) and isinstance(stored, list):
        return _restored_items(value, stored, stored_public)
    return value


def _restored_items(value: list[JsonValue], stored: list[JsonValue], stored_public: list[JsonValue]) -> list[JsonValue]:
    """Each item as the stored one that looks like it; of several, the one in the same place if it does."""
    alike: dict[str, list[int]] = {}
    for at, public in enumerate(stored_public):
        alike.setdefault(_canonical(public), []).append(at)
    return [_restored_item(index, item, stored, alike) for index, item in enumerate(value)]


def _restored_item(index: int, item: JsonValue, stored: list[JsonValue], alike: Mapping[str, list[int]]) -> JsonValue:
    places = alike.get(_canonical(item), [])
    if len(places) == 1:
        return stored[places[0]]
    found = bisect.bisect_left(places, index)
    return stored[index] if found < len(places) and places[found] == index else item


def _canonical(value: JsonValue) -> str:
    return json.dumps(value, sort_keys=True)
