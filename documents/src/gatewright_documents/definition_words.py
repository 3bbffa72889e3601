"""What a policy's definition says, in words for people: its parameters, the phases it sees, what it may reach.

Used where a page of it is shown: by `gatewright policy`, and for the documentation.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from gatewright.access import ANY, UNIX
from gatewright.definition import BodyMode, HeaderMode, PolicyDefinition, Runtime

from gatewright_documents.schema_walk import resolved
from gatewright_documents.schema_words import CHOICES, key_choice
from gatewright_documents.values import JsonObject, JsonValue

Code = Callable[[object], str]
"""How a page shows what is written to the letter: as it is, or between backticks."""
LIMITS = {
    "minimum": "at least {}", "maximum": "at most {}", "exclusiveMinimum": "more than {}",
    "exclusiveMaximum": "less than {}", "multipleOf": "a multiple of {}", "minLength": "{} or more characters",
    "maxLength": "at most {} characters", "minItems": "{} or more entries", "maxItems": "at most {} entries",
    "minProperties": "{} or more keys", "maxProperties": "at most {} keys",
}  # fmt: skip
FORMATS = {"secret": "a secret", "cel": "a condition in CEL"}
LONG = 40
"""Characters of a pattern that is too long to read."""
DEEPEST = 4
"""Layers of nested lists and maps that are described."""
EACH, KEY = "[]", ".*"
"""What a path has for each entry of a list, and for each value of a map: an object with keys of the author's choice."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One that an attachment may set. path: `token.in`, `issuers[].audiences`, `replacements.*.with`.

    kind: what its value may be. default: as JSON, "" where there is none, or where it is required.
    """

    path: str
    kind: str
    required: bool
    default: str
    description: str


def one_line(text: str) -> str:
    """A text of several lines."""
    return " ".join(text.split())


def phases(definition: PolicyDefinition) -> list[str]:
    """What the policy is given of an exchange."""
    mode = definition.processing_mode
    heads = {"request": mode.request_header_mode, "response": mode.response_header_mode}
    bodies = {"request": mode.request_body_mode, "response": mode.response_body_mode}
    found = []
    for side, head in heads.items():
        if head is HeaderMode.PROCESS:
            found.append(f"the {side}'s headers")
        if bodies[side] is not BodyMode.SKIP:
            how = "whole" if bodies[side] is BodyMode.BUFFER else "chunk by chunk"
            found.append(f"the {side}'s body, {how}")
    return found


def network(definition: PolicyDefinition) -> str:
    """The network that it may use."""
    if definition.runtime is Runtime.GO:
        return "as the engine, which it runs in"
    words = {ANY: "every address", UNIX: "Unix sockets"}
    return ", ".join(words.get(entry, entry) for entry in definition.access.network) or "none"


def files(definition: PolicyDefinition) -> str:
    """What it may read and write."""
    if definition.runtime is Runtime.GO:
        return "as the engine, which it runs in"
    paths = {"reads": definition.access.read, "writes": definition.access.write}
    return "; ".join(f"{verb} {', '.join(listed)}" for verb, listed in paths.items() if listed) or "none of its own"


# ---------------------------------------------------------------- parameters


def parameters(schema: Mapping[str, JsonValue], code: Code = str) -> Iterator[Parameter]:
    """Of a definition's `parameters` or `systemParameters`: each, and behind it those in it."""
    root = dict(schema)
    yield from _below(root, root, "", frozenset({"#"}), code)


def together(schema: Mapping[str, JsonValue], code: Code = str) -> str:
    """What holds for all parameters together: "at least one of allow, deny"; "" where nothing does."""
    limits = [limit.replace(" keys", " parameters") for limit in _limits(dict(schema), code)]
    return ", ".join(_choices(dict(schema), code) or limits)


def _below(schema: JsonObject, root: JsonObject, before: str, seen: frozenset[str], code: Code) -> Iterator[Parameter]:
    """seen: the references that lead here; one that leads into itself is not followed again."""
    required = schema.get("required", ())
    for name, field_schema in schema.get("properties", {}).items():
        field, path, default = _whole(field_schema, root), f"{before}{name}", ""
        if name not in required and "default" in field:
            default = json.dumps(field["default"], ensure_ascii=False)
        description = one_line(field.get("description", ""))
        yield Parameter(path, _kind(field_schema, root, code), name in required, default, description)
        known = seen
        for layer, step in _layers(field_schema, root):
            if (references := _references(layer, root)) & known:
                break
            path, known = f"{path}{step}", known | references
            yield from _below(_whole(layer, root), root, f"{path}.", known, code)


def _layers(schema: JsonValue, root: JsonObject) -> Iterator[tuple[JsonValue, str]]:
    """The schema; of a list or a map also that of its items, and of theirs; each with the step of the path to it."""
    step = ""
    for _ in range(DEEPEST):
        yield schema, step
        schema, step = _values(_whole(schema, root))
        if not step:
            return


def _kind(schema: JsonValue, root: JsonObject, code: Code) -> str:
    """What a value may be, and for a list or a map what each in it may be."""
    outer, *inner = (_whole(layer, root) for layer, _ in _layers(schema, root))
    item_limits = [", ".join(limits) for field in inner if (limits := _limits(field, code))]
    return "; each ".join([", ".join([_noun(schema, root, code), *_limits(outer, code)]), *item_limits])


def _noun(schema: JsonValue, root: JsonObject, code: Code) -> str:
    *around, (innermost, _) = _layers(schema, root)
    steps = [step for _, step in _layers(schema, root)][1:]
    words = [("list" if step == EACH else "map") + ("s" if number else "") for number, step in enumerate(steps)]
    return " of ".join([*words, _name(_whole(innermost, root), code, several=bool(around))])


def _name(field: JsonObject, code: Code, *, several: bool) -> str:
    """Of what is no list and no map."""
    if "const" in field or "enum" in field:
        values = [code(_literal(value)) for value in field.get("enum", [field.get("const")])]
        return f"{'' if several or len(values) == 1 else 'one of '}{', '.join(values)}"
    types = field.get("type", "object" if "properties" in field else "value")
    return " or ".join(f"{name}{'s' if several else ''}" for name in ([types] if isinstance(types, str) else types))


def _limits(field: JsonObject, code: Code) -> list[str]:
    found = [words.format(field[name]) for name, words in LIMITS.items() if name in field]
    if len(pattern := field.get("pattern", "")) >= LONG:
        found[:0] = [field["x-expected"]] if "x-expected" in field else []
    elif pattern:
        found.insert(0, f"matches {code(pattern)}")
    if field.get("uniqueItems"):
        found.append("no entry twice")
    if "format" in field:
        found.append(FORMATS.get(field["format"], f"format {field['format']}"))
    return [*found, *_choices(field, code)]


def _choices(field: JsonObject, code: Code) -> list[str]:
    """Keys of which one has to be there."""
    found = []
    for keyword, words in CHOICES.items():
        if keys := key_choice(field.get(keyword)):
            found.append(words.format(", ".join(map(code, keys))))
    return found


def _literal(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _values(field: JsonObject) -> tuple[JsonValue, str]:
    """The schema of a list's entries or of a map's values, and the step of a path to them; (None, "") for others."""
    if isinstance(items := field.get("items"), dict) and field.get("type", "array") == "array":
        return items, EACH
    if isinstance(values := field.get("additionalProperties"), dict) and field.get("type", "object") == "object":
        return values, KEY
    return None, ""


def _whole(schema: JsonValue, root: JsonObject) -> JsonObject:
    """With what its `$ref` and `allOf` say; its own words count more."""
    found: JsonObject = {}
    for part in _parts(schema, root, []):
        found = {**part, **found, "properties": {**part.get("properties", {}), **found.get("properties", {})}}
    return found if found.get("properties") else {key: value for key, value in found.items() if key != "properties"}


def _parts(schema: JsonValue, root: JsonObject, seen: list[str]) -> Iterator[JsonObject]:
    if not isinstance(schema, dict):
        return
    yield schema
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference not in seen:
        seen.append(reference)
        yield from _parts(resolved(reference, root), root, seen)
    for part in schema.get("allOf", ()):
        yield from _parts(part, root, seen)


def _references(schema: JsonValue, root: JsonObject) -> frozenset[str]:
    """The names that it goes by, by which one is known that has itself in it."""
    seen: list[str] = []
    for _ in _parts(schema, root, seen):
        pass
    return frozenset(seen)
