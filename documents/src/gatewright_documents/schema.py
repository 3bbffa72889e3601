"""JSON Schema 2020-12 as policies use it: unknown keys are refused unless the schema allows them, defaults are applied.

jsonschema-rs validates; closing a schema, applying its defaults and saying what was expected is done here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import jsonschema_rs
from jsonschema_rs import ValidationErrorKind as Kind

from gatewright_documents import (
    parameter_schemas,
    schema_branches,
    schema_defaults,
    schema_walk,
    secret_masks,
    secret_references,
)
from gatewright_documents.mistake import Mistake, format_path, listed, shown
from gatewright_documents.schema_walk import closed, in_place, known_keys
from gatewright_documents.schema_words import CHOICES, expected_by_kind, key_choice, meant, type_words
from gatewright_documents.secret_masks import MASK
from gatewright_documents.values import JsonObject, JsonValue, KeyPath

NOTHING: JsonObject = {"type": "object", "properties": {}}
"""The schema of a policy that takes no parameters."""
NOT_GIVEN = object()
UNKNOWN_KEY_CURE = "remove it or correct its name"


class Schema:
    """A compiled schema. Raises `ValueError` if it is not one, or refers to another document.

    close: whether unknown keys are refused wherever the schema lists an object's properties and says no more.
    """

    def __init__(self, schema: JsonObject | None, *, close: bool = True) -> None:
        self.document = schema or NOTHING
        jsonschema_rs.Draft202012Validator(self.document, offline=True)  # only a right schema can be closed
        if close:
            self.document = closed(self.document)
        self._formats = schema_walk.formats_in(self.document)
        self._has_secrets = secret_masks.may_have_secrets(self.document)
        self._checked = secret_references.with_references(self.document)
        self._validator = jsonschema_rs.Draft202012Validator(self._checked, offline=True)

    def mistakes(
        self, value: JsonValue, root: str, *, hide_values: bool = False, public: JsonValue = NOT_GIVEN
    ) -> Iterator[Mistake]:
        """Everything about `value` that the schema refuses; `root` is the path of `value` in its document.

        No mistake shows what the schema calls a secret; with `hide_values` none shows more than the keys
        that the schema names. public: the value as it may be shown, where its owner knows better.
        """
        found = set[Mistake]()
        errors = list(self._validator.iter_errors(value))
        for error in schema_branches.without_doubtful(errors, self._checked):
            if self._is_refused_by_values(error):
                continue
            if public is NOT_GIVEN:
                public = self._public(value, hide_values)
            for mistake in self._mistakes_of_error(error, root, public):
                if mistake not in found:  # several parts of a schema may want the same
                    found.add(mistake)
                    yield mistake

    def _is_refused_by_values(self, error: jsonschema_rs.ValidationError) -> bool:
        """Whether a value has the wrong type beside a list of values, which refuses it too and says more."""
        if not isinstance(error.kind, Kind.Type):
            return False
        here = self._at(error.schema_path[:-1])
        values = here.get("enum", [here["const"]] if "const" in here else [])
        return isinstance(values, list) and bool(values) and error.instance not in values

    def parameter_mistakes(self, value: JsonValue, root: str, *, hide_values: bool = False) -> Iterator[Mistake]:
        """`mistakes` of a policy's parameters: names of secrets stand only where the schema says of one, and what it
        calls a JSON Schema (`format: json-schema`) is one.
        """
        yield from self.mistakes(value, root, hide_values=hide_values)
        for path in secret_references.misplaced(value, [self.document], self.document):
            cure = "write the value itself: its schema says of no secret there (format: secret)"
            field = format_path(_public_path(path, self._public(value, hide_values)), root)
            yield Mistake.expecting("no reference to a secret", "secretRef", cure, field=field)
        for path, found in self._values_of(value, parameter_schemas.FORMAT):
            mistakes = list(parameter_schemas.mistakes_in(found, format_path(path, root)))
            if mistakes and _within(public := self._public(value, hide_values), path) != found:
                field = format_path(_public_path(path, public), root)
                mistakes = [Mistake.expecting("a JSON Schema", "something else", "fix it", field=field)]
            yield from mistakes

    def _public(self, value: JsonValue, hide_values: bool) -> JsonValue:
        """The value as mistakes may show it."""
        return self.without_values(value) if hide_values else self.masked(value)

    def _values_of(self, value: JsonValue, format_name: str) -> Iterator[tuple[KeyPath, JsonValue]]:
        """`schema_walk.values_of` this schema, which is walked only where it has the format."""
        if format_name not in self._formats:
            return iter(())
        return schema_walk.values_of(value, [self.document], self.document, format_name)

    def masked(self, value: JsonValue) -> JsonValue:
        """The value as it may be shown: where the schema says of a secret (`writeOnly`, `format: password`,
        `format: secret`), a mask; the name of a secret stays.
        """
        if not self._has_secrets:
            return value
        return secret_masks.masked(value, [self.document], self.document)

    def for_nodes(self, value: JsonValue) -> JsonValue:
        """The value as nodes are sent it: secrets that may be named are marked (secret_references)."""
        if secret_references.FORMAT not in self._formats:
            return value
        return secret_references.for_nodes(value, [self.document], self.document)

    def without_values(self, value: JsonValue) -> JsonValue:
        """The value with a mask for whatever is no key of the schema's own."""
        return secret_masks.without_values(value, [self.document], self.document)

    def restored(self, value: JsonValue, stored: JsonValue) -> JsonValue:
        """The value with what is stored in the place of masks. Items of a list are known by what of them is shown."""
        if not self._has_secrets:
            return value
        return secret_masks.restored(value, stored, self.masked(value), self.masked(stored))

    def has_format(self, format_name: str) -> bool:
        """Whether some value may have this `format`."""
        return format_name in self._formats

    def texts(self, value: JsonValue, format_name: str) -> Iterator[tuple[KeyPath, str]]:
        """The texts in the value that have this `format`, each with its path; whether they fit it is others' to say."""
        found = self._values_of(value, format_name)
        return ((path, text) for path, text in found if isinstance(text, str))

    def with_defaults(self, value: JsonObject) -> JsonObject:
        """A copy of `value` in which what is missing has the schema's default."""
        filled = schema_defaults.with_defaults(value, self.document, self.document)
        assert isinstance(filled, dict)
        return filled

    def _mistakes_of_error(
        self, error: jsonschema_rs.ValidationError, root: str, public: JsonValue
    ) -> Iterator[Mistake]:
        path, here = _public_path(error.instance_path, public), error.schema_path[:-1]
        found, field = _within(public, path), format_path(path, root)
        if mistake := self._reference_mistake(error, field) or self._choice_mistake(error, found, field):
            yield mistake
            return
        if (names := _unknown_names(error, found)) is not None:
            if found == MASK:
                yield Mistake(field, "has keys that are unknown")
            else:
                yield from self._unknown_keys(names, path, here, root)
            return
        match error.kind:
            case Kind.AnyOf(branches) | Kind.OneOfNotValid(branches) if inner_errors := meant(error, branches):
                for inner in inner_errors:
                    yield from self._mistakes_of_error(inner, root, public)
            case Kind.Required(name):
                expected, cure = self._expectation_at(here, str(name))
                yield Mistake.expecting(expected, "nothing", cure, field=format_path([*path, str(name)], root))
            case Kind.PropertyNames(inner) if inner.instance in _keys(_within(public, path)):
                yield self._wrong(inner, format_path([*path, str(inner.instance)], root), inner.instance)
            case _:
                yield self._wrong(error, field, _within(public, error.instance_path))

    def _reference_mistake(self, error: jsonschema_rs.ValidationError, field: str) -> Mistake | None:
        """An object in the place of a secret that is no reference by its keys; None for any other mistake."""
        if not isinstance(error.instance, dict) or self._at(error.schema_path[:-1]) != secret_references.REFERENCE:
            return None
        return secret_references.mistake_of_keys(error.instance, field)

    def _choice_mistake(self, error: jsonschema_rs.ValidationError, found: JsonValue, field: str) -> Mistake | None:
        """Too many or too few of the keys of which the author has to choose; None for any other mistake."""
        here, keyword = self._at(error.schema_path[:-1]), error.schema_path[-1]
        if keyword not in CHOICES or not isinstance(found, dict) or _text(here, "x-expected"):
            return None
        names = key_choice(here.get(str(keyword)))
        if not names:
            return None
        expected = CHOICES[str(keyword)].format(", ".join(names))
        got = [name for name in names if name in found]
        return Mistake.expecting(
            expected, " and ".join(got) or "none", "remove all but one" if got else "", field=field
        )

    def _unknown_keys(
        self, names: Collection[str], path: Sequence[str | int], here: Sequence[str | int], root: str
    ) -> Iterator[Mistake]:
        known = known_keys(self._at(here), self._checked)
        expected = f"one of {', '.join(known)}" if known else "no key"
        for name in sorted(set(names) - set(known)):
            field = format_path([*path, name], root)
            yield Mistake.expecting(expected, shown(name), UNKNOWN_KEY_CURE, field=field)

    def _wrong(self, error: jsonschema_rs.ValidationError, field: str, public: JsonValue) -> Mistake:
        here = self._at(error.schema_path[:-1])
        if expected := _text(here, "x-expected") or _like_an_example(error.kind, here) or expected_by_kind(error.kind):
            return Mistake.expecting(expected, shown(public), _text(here, "x-cure"), field=field)
        return Mistake(
            field, error.message if public == error.instance else f"expected another value than {shown(public)}"
        )

    def _expectation_at(self, path: Sequence[str | int], name: str) -> tuple[str, str]:
        """What a property that is missing is to be, and the cure."""
        for part in in_place(self._at(path), self._checked):
            for schema in in_place(part.get("properties", {}).get(name), self._checked):
                if expected := _text(schema, "x-expected") or _kind_words(schema):
                    return expected, _text(schema, "x-cure")
        return "a value", ""

    def _at(self, path: Sequence[str | int]) -> JsonObject:
        found: JsonValue = self._checked
        for step in path:
            found = found[int(step)] if isinstance(found, list) else found.get(str(step), {})
        return found if isinstance(found, dict) else {}


def _unknown_names(error: jsonschema_rs.ValidationError, value: JsonValue) -> Collection[str] | None:
    """The keys that no schema knows; None where the mistake is another one."""
    match error.kind:
        case Kind.AdditionalProperties(names) | Kind.UnevaluatedProperties(names):
            return [str(name) for name in names]
        case Kind.FalseSchema() if error.schema_path[-1:] == ["additionalProperties"]:  # without properties beside it
            return _keys(value)
    return None


def _text(schema: JsonObject, keyword: str) -> str:
    found = schema.get(keyword)
    return found if isinstance(found, str) else ""


def _public_path(path: Sequence[str | int], public: JsonValue) -> list[str | int]:
    """The path as far as it may be shown: not into what has a mask."""
    shown: list[str | int] = []
    for step in path:
        key = _key(step, public)
        if public == MASK or (isinstance(public, dict) and key not in public):
            break
        shown.append(key)
        public = public[key]
    return shown


def _within(value: JsonValue, path: Sequence[str | int]) -> JsonValue:
    """What stands at the path; a mask for all that is inside of one."""
    for step in path:
        key = _key(step, value)
        if value == MASK or (isinstance(value, dict) and key not in value):
            return MASK
        value = value[key]
    return value


def _key(step: str | int, value: JsonValue) -> str | int:
    """jsonschema-rs has a number for a key that is made of digits, too."""
    return str(step) if isinstance(value, dict) else step


def _keys(value: JsonValue) -> set[str]:
    return set(value) if isinstance(value, dict) else set()


def _kind_words(schema: JsonObject) -> str:
    options = schema.get("enum", [schema["const"]] if "const" in schema else [])
    return listed([shown(option) for option in options]) if options else type_words(schema.get("type", []))


def _like_an_example(kind: Kind, schema: JsonObject) -> str:
    """The schema's own example, which says more than its pattern."""
    examples = schema.get("examples")
    if not isinstance(kind, Kind.Pattern) or not isinstance(examples, list) or not examples:
        return ""
    return f"text such as {shown(examples[0])}, that matches {kind.pattern}"
