"""A decK file as it was read: its values with their lines, and values of the environment for its placeholders."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from gatewright_documents.json_reader import line_tree, parse_json
from gatewright_documents.line_tree import LineTree
from gatewright_documents.mistake import Invalid, Mistake, Unreadable, format_path, listed, shown
from gatewright_documents.values import JsonObject, JsonValue, KeyPath
from gatewright_documents.yaml_reader import OPENAPI, as_object, read_located_yaml

MAX_BYTES = 64 * 1024 * 1024
MAX_VALUES = 5_000_000
EXPECTED = "a decK file, with _format_version and services"
VERSIONS = ("1.1", "3.0")
MARK = re.compile(rb"_format_version[\"']?\s*:")
FUNCTION = r"(?:toString|toInt|toFloat|toBool|indent\s+(?P<indent>[0-9]{1,3}))"
PLACEHOLDER = re.compile(
    r"\$\{\{\s*env\s+\\?[\"'](?P<name>DECK_[A-Za-z0-9_]+)\\?[\"']\s*(?:\|\s*" + FUNCTION + r"\s*)?\}\}"
)
ANY_PLACEHOLDER = re.compile(r"\$\{\{.*?\}\}")
SECRETS = ("key", "password", "secret", "client_secret", "authorization_value")
"""Fields whose values are in no message."""
PLAIN_PATH = re.compile(r"[A-Za-z0-9._~/%-]*")
"""In the format 1.1, a path with any other character is a regular expression (Kong before 3.0)."""


@dataclass(frozen=True)
class Source:
    """A decK file. file: its name in mistakes. version: its format. mistakes: those found so far."""

    file: str
    body: bytes
    value: JsonObject
    read_lines: LineTree | None = None
    mistakes: list[Mistake] = field(default_factory=list)

    @property
    def version(self) -> str:
        """The format, such as `3.0`."""
        return str(self.value.get("_format_version"))

    @cached_property
    def lines(self) -> LineTree:
        """Lines by path. Those of JSON are computed on first use: its parser reports none."""
        return self.read_lines or line_tree(self.body, MAX_VALUES)

    def line(self, path: KeyPath) -> int:
        """The line of the value at path, or of the nearest value around it; from 1."""
        return self.lines.line_at(path)

    def wrong(self, path: KeyPath, expected: str, got: str = "", cure: str = "") -> None:
        """Adds a mistake at path."""
        where, line = format_path(path), self.line(path)
        self.mistakes.append(Mistake.expecting(expected, got, cure, field=where, line=line, file=self.file))

    def check(self) -> None:
        """Raises `Invalid` with all mistakes so far, if there are any."""
        if self.mistakes:
            raise Invalid(self.mistakes)

    def is_regex(self, path: str) -> bool:
        """Whether a route's path is a regular expression in this format."""
        return path.startswith("~") or (self.version == "1.1" and not PLAIN_PATH.fullmatch(path))


def is_deck_file(body: bytes) -> bool:
    """Whether the text is a decK file, and no other document that mentions its first key."""
    if not MARK.search(body):
        return False
    try:
        return "_format_version" in _parse(PLACEHOLDER.sub("0", body.decode()).encode(), "").value
    except (Invalid, UnicodeDecodeError):
        return not re.search(rb"^\s*\{?\s*[\"']?(openapi|swagger)[\"']?\s*:", body, re.MULTILINE)


def read(body: bytes, file: str, environment: Mapping[str, str]) -> Source:
    """The decK file, YAML or JSON, of the format 1.1 or 3.0, with the environment's values for its placeholders.

    Raises `Invalid`, with lines, for any other document, for a placeholder without a value, and for more than MAX_BYTES
    or MAX_VALUES.
    """
    if len(body) > MAX_BYTES:
        expected, got = f"a file of at most {MAX_BYTES // 1024**2} MiB", f"{len(body):,} bytes"
        raise Unreadable(
            [Mistake.in_file(file, expected, got, "import a part of it, by `deck gateway dump --select-tag`")]
        )
    try:
        source = _parse(_fill(body, file, environment), file)
    except Unreadable as unreadable:
        raise Unreadable([replace(mistake, file=file) for mistake in unreadable.mistakes]) from None
    version = source.value.get("_format_version")
    if str(version) not in VERSIONS or isinstance(version, bool):
        cure = "convert it first: `deck file convert --from kong-gateway-2.x --to kong-gateway-3.x`"
        source.wrong(
            ("_format_version",), f"{listed(VERSIONS)}", "nothing" if version is None else shown(version), cure
        )
    source.check()
    return source


def _parse(body: bytes, file: str) -> Source:
    if body.lstrip().startswith(b"{"):
        try:
            return Source(file, body, parse_json(body, EXPECTED, MAX_VALUES))
        except Unreadable:
            if file.endswith(".json"):
                raise  # else it may be YAML that begins with a brace
    value, lines = read_located_yaml(body, OPENAPI, most_values=MAX_VALUES)
    return Source(file, body, as_object(value, EXPECTED), lines)


def _fill(body: bytes, file: str, environment: Mapping[str, str]) -> bytes:
    """The text with values for its placeholders, as decK has it: before it is read as YAML."""
    if b"${{" not in body:
        return body
    text = body.decode(errors="surrogateescape")
    mistakes = list(_placeholder_mistakes(text, file, environment))
    if mistakes:
        raise Invalid(mistakes)
    return PLACEHOLDER.sub(lambda found: _value_of(found, environment), text).encode(errors="surrogateescape")


def _placeholder_mistakes(text: str, file: str, environment: Mapping[str, str]) -> Iterator[Mistake]:
    for found in ANY_PLACEHOLDER.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        placeholder = PLACEHOLDER.fullmatch(found[0])
        if placeholder is None:
            expected = '${{ env "DECK_NAME" }}, with toString, toInt, toFloat, toBool or indent behind it at most'
            yield Mistake.in_file(file, expected, shown(found[0]), "write the value in its place", line)
        elif placeholder["name"] not in environment:
            cure = f"set it: {placeholder['name']}=… gatewright import {file}"
            yield Mistake.in_file(file, f"{placeholder['name']} in the environment", "nothing", cure, line)


def _value_of(found: re.Match[str], environment: Mapping[str, str]) -> str:
    value = environment[found["name"]]
    return value.replace("\n", "\n" + " " * int(found["indent"])) if found["indent"] else value


class Fields:
    """An object of the file whose fields are read one by one. A field that is read has been carried over, unless the
    report says otherwise; one of another type than it must have is a mistake.
    """

    def __init__(self, source: Source, path: KeyPath, value: JsonObject, seen: set[KeyPath]) -> None:
        self.source, self.path, self.value, self._seen = source, path, value, seen

    def has(self, key: str) -> bool:
        """Whether the field has a value; null is none."""
        return self.value.get(key) is not None

    def where(self, *steps: str | int) -> KeyPath:
        """The path of a field, or of a part of it."""
        return (*self.path, *steps)

    def text(self, key: str, default: str = "") -> str:
        """The field's text."""
        found: str = self._read(key, default, "a text", lambda value: isinstance(value, str))
        return found

    def whole(self, key: str, default: int = 0) -> int:
        """The field's whole number."""
        found: int = self._read(key, default, "a whole number", lambda value: _is_number(value) and value == int(value))
        return found

    def number(self, key: str, default: float = 0) -> float:
        """The field's number."""
        found: float = self._read(key, default, "a number", _is_number)
        return found

    def flag(self, key: str, default: bool = False) -> bool:
        """The field's true or false."""
        found: bool = self._read(key, default, "true or false", lambda value: isinstance(value, bool))
        return found

    def texts(self, key: str) -> list[str]:
        """The field's texts; a single one is a list of one."""
        value = self.value.get(key)
        if isinstance(value, str):
            self._seen.add(self.where(key))
            return [value]
        found: list[str] = self._read(key, [], "a list of texts", lambda items: _is_list(items, str))
        return found

    def wholes(self, key: str) -> list[int]:
        """The field's whole numbers."""
        found: list[int] = self._read(key, [], "a list of whole numbers", lambda items: _is_list(items, int))
        return found

    def lists(self, key: str) -> dict[str, list[str]]:
        """The field's lists of texts, by name."""
        found: dict[str, list[str]] = self._read(
            key, {}, "lists of texts by name",
            lambda value: isinstance(value, dict) and all(_is_list(items, str) for items in value.values()),
        )  # fmt: skip
        return found

    def at(self, key: str) -> Fields:
        """The object in the field; an empty one if there is none."""
        value = self.value.get(key)
        if value is not None and not isinstance(value, dict):
            self.source.wrong(self.where(key), "an object", shown(value), "fix it")
        return Fields(self.source, self.where(key), value if isinstance(value, dict) else {}, self._seen)

    def items(self, key: str) -> list[Fields]:
        """The objects in the field's list."""
        value = self.value.get(key)
        if value is None:
            return []
        if not _is_list(value, dict):
            self.source.wrong(self.where(key), "a list of objects", shown(value), "fix it")
            return []
        return [Fields(self.source, self.where(key, index), item, self._seen) for index, item in enumerate(value)]

    def see(self, *keys: str) -> None:
        """Marks fields as carried over that need no value of their own in the result."""
        self._seen.update(self.where(key) for key in keys if key in self.value)

    def reference(self, key: str) -> str:
        """The name or id of another entity: a text, or an object with `id`, `name` or `username`."""
        value = self.value.get(key)
        if isinstance(value, dict):
            names = [name for part in ("name", "username", "id") if isinstance(name := value.get(part), str)]
            self._seen.add(self.where(key))
            return names[0] if names else ""
        return self.text(key)

    def _read(self, key: str, default: JsonValue, expected: str, fits: Callable[[JsonValue], bool]) -> JsonValue:
        value = self.value.get(key)
        if key in self.value:
            self._seen.add(self.where(key))
        if value is None:
            return default
        if not fits(value):
            self.source.wrong(self.where(key), expected, "another value" if key in SECRETS else shown(value), "fix it")
            return default
        return value


def _is_number(value: JsonValue) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15


def _is_list(value: JsonValue, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(item, kind) and not isinstance(item, bool) for item in value)
