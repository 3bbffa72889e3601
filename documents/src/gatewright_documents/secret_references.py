"""Where a schema says `format: secret`: text, or `{secretRef: NAME}`, which names a secret that is kept elsewhere.

NAME is a file of the node; NAME/KEY is a key of a Secret of the controller.

A node is sent all of them in one form, which marks the secret: `{"secretRef": "", "value": TEXT}` and
`{"secretRef": NAME}`.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from gatewright_documents.mistake import Mistake, shown
from gatewright_documents.schema_walk import in_place, of_item, of_key, schemas_with_paths
from gatewright_documents.values import JsonObject, JsonValue, KeyPath

FORMAT = "secret"
KEY, VALUE = "secretRef", "value"
FILE = r"[a-z0-9][a-z0-9._-]{0,252}"
"""A pattern of a file's name, and of a key of a Secret."""
RESOURCE = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
"""A pattern of a Secret's name."""
NAME = re.compile(f"(?:{RESOURCE}/)?{FILE}")
EXPECTED = f"text or {{{KEY}: NAME}}"
ALIKE = 0.8
"""How much of a key has to be as in secretRef, from 0 to 1, to be meant as it: secret and secret_ref are."""
REFERENCE: JsonObject = {
    "type": "object",
    "required": [KEY],
    "additionalProperties": False,
    "properties": {
        KEY: {
            "type": "string",
            "pattern": f"^{NAME.pattern}$",
            "x-expected": "a name of lower-case letters, digits, -, _ and . that begins with a letter or digit",
            "x-cure": "name the secret's file, or the controller's Secret and its key as NAME/KEY",
        }
    },
}


def is_reference(value: JsonValue) -> bool:
    """Whether it is `{secretRef: NAME}`, and nothing else."""
    if not isinstance(value, dict) or value.keys() != {KEY}:
        return False
    return isinstance(value[KEY], str) and NAME.fullmatch(value[KEY]) is not None


def mistake_of_keys(value: JsonObject, field: str) -> Mistake:
    """What is wrong with an object in the place of a secret that has other keys than secretRef alone.

    It shows no key but one that is meant as secretRef: any other might be the secret.
    """
    alike = get_close_matches(KEY.lower(), [key.lower() for key in value if key != KEY], 1, ALIKE)
    got, cure = "an object with other keys" if value else "an object without keys", f"name the secret by {KEY} alone"
    if alike and KEY not in value:
        got = f"an object with {shown(next(key for key in value if key.lower() == alike[0]))}"
        cure = f"write {KEY}"
    return Mistake.expecting(EXPECTED, got, cure, field=field)


def split_reference(name: str) -> tuple[str, str] | None:
    """The Secret of the controller and its key; None for the name of a file."""
    secret, slash, key = name.partition("/")
    return (secret, key) if slash else None


def is_secret(parts: Sequence[JsonObject]) -> bool:
    """Whether one of the schemas that apply to a value calls it a secret that may be named."""
    return any(part.get("format") == FORMAT for part in parts)


def with_references(schema: JsonObject) -> JsonObject:
    """The schema with references allowed where it says `format: secret`; itself where it says so nowhere."""
    if all(subschema.get("format") != FORMAT for _, subschema in schemas_with_paths(schema)):
        return schema
    result = copy.deepcopy(schema)
    for _, subschema in list(schemas_with_paths(result)):
        if subschema.get("format") == FORMAT:
            _allow_reference(subschema)
    return result


def _allow_reference(schema: JsonObject) -> None:
    text = {keyword: value for keyword, value in schema.items() if keyword != "type"}
    schema.clear()
    schema["type"] = ["string", "object"]
    schema["x-expected"] = text.get("x-expected", EXPECTED)
    schema |= {"x-cure": text["x-cure"]} if "x-cure" in text else {}
    schema |= {"if": {"type": "object"}, "then": copy.deepcopy(REFERENCE), "else": text}


def for_nodes(value: JsonValue, schemas: Sequence[JsonValue], root: JsonObject) -> JsonValue:
    """A copy of the value in which text that is a secret is marked as one.

    Whatever may apply to a value counts, also a branch that does not hold.
    """
    parts = [part for schema in schemas for part in in_place(schema, root)]
    if isinstance(value, str):
        return {KEY: "", VALUE: value} if is_secret(parts) else value
    if isinstance(value, dict):
        return {key: for_nodes(item, of_key(key, parts), root) for key, item in value.items()}
    if isinstance(value, list):
        return [for_nodes(item, of_item(index, parts), root) for index, item in enumerate(value)]
    return value


def misplaced(value: JsonValue, schemas: Sequence[JsonValue], root: JsonObject) -> Iterator[KeyPath]:
    """The paths of objects with the key `secretRef` where the schema says of no secret: nothing would put one there."""
    return _misplaced(value, schemas, root, ()) if _has_key(value) else iter(())


def _has_key(value: JsonValue) -> bool:
    """Whether an object in the value has the key `secretRef`."""
    if isinstance(value, dict):
        return KEY in value or any(map(_has_key, value.values()))
    return isinstance(value, list) and any(map(_has_key, value))


def _misplaced(value: JsonValue, schemas: Sequence[JsonValue], root: JsonObject, path: KeyPath) -> Iterator[KeyPath]:
    parts = [part for schema in schemas for part in in_place(schema, root)]
    if isinstance(value, dict):
        if KEY in value and not is_secret(parts):
            yield path
            return
        for key, item in value.items():
            yield from _misplaced(item, of_key(key, parts), root, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _misplaced(item, of_item(index, parts), root, (*path, index))


def references(value: JsonValue, path: KeyPath = ()) -> Iterator[KeyPath]:
    """Where references to secrets stand in values that nodes are sent."""
    yield from (found for found, _ in named_secrets(value, path))


def named_secrets(value: JsonValue, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """Where references to secrets stand, each with what it names."""
    if isinstance(value, dict) and is_reference(value):
        yield path, value[KEY]
    elif isinstance(value, dict | list):
        for step, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from named_secrets(item, (*path, step))
