"""YAML as plain JSON values that remember their lines."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from gatewright_builder.mistake import BuildError, Mistake

TEXT = "tag:yaml.org,2002:str"
KeyPath = tuple[str | int, ...]
MAX_DEPTH = 64
MAX_BYTES = 4 * 1024 * 1024
VALUE_COST = 80
MAX_SIZE = 2 * MAX_BYTES
"""Of a file with its aliases written out: its characters, and VALUE_COST for each value."""
MAX_DIRECTIVES = 10  # libyaml holds each against all before
MAX_NUMBER = 100
TOO_LARGE_CURE = f"make it smaller than {MAX_BYTES // 1024**2} MiB, aliases written out"


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML file: `value` is dict, list, str, int, float, bool or None, at any depth; keys are str."""

    file: str
    value: object
    lines: Mapping[KeyPath, int]

    def line(self, *path: str | int) -> int:
        """The line of what stands at path, or of the nearest thing around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def mistake(self, path: KeyPath, expected: str, got: str, cure: str) -> Mistake:
        """A mistake at path."""
        return Mistake(self.file, expected, got, cure, self.line(*path))


def read_document(path: Path, shown: str) -> Document:
    """Reads a YAML file; `shown` is its name in mistakes. Raises BuildError: no file, no YAML, not a JSON value."""
    try:
        content = path.read_bytes()
        if len(content) > MAX_BYTES or content.count(b"\n%") > MAX_DIRECTIVES:
            raise BuildError([Mistake(shown, "a definition of reasonable size", "more", TOO_LARGE_CURE)])
        loader = yaml.CSafeLoader(content)
        node = loader.get_single_node()
        if node is None:
            raise BuildError([Mistake(shown, "a YAML mapping", "an empty file", "write its keys")])
        reader = _Reader(shown, loader)
        reader.measure(node, {}, 0)
        return Document(shown, reader.plain(node, ()), reader.lines)
    except OSError as error:
        raise BuildError(
            [Mistake(shown, "a file", (error.strerror or str(error)).lower(), "check the path")]
        ) from error
    except yaml.YAMLError as error:
        raise BuildError([_not_yaml(shown, error)]) from error


def _not_yaml(shown: str, error: yaml.YAMLError) -> Mistake:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    return Mistake(shown, "YAML", problem, "mend the syntax", mark.line + 1 if mark else None)


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


class _Reader:
    """PyYAML itself would let dates, duplicate keys and keys that are no strings through."""

    def __init__(self, shown: str, loader: yaml.CSafeLoader) -> None:
        self.shown = shown
        self.loader = loader
        self.lines: dict[KeyPath, int] = {}

    def measure(self, node: yaml.Node, known: dict[int, int | None], depth: int) -> int:
        """What the node holds, aliases written out: refused before that is done."""
        size = known.get(id(node), 0)
        if size is None:
            raise self.refuse(node, "a finite document", "an alias to a value that holds it", "write it out")
        if size:
            return size
        if depth > MAX_DEPTH:
            raise self.refuse(node, f"at most {MAX_DEPTH} levels", "more", "nest less deep")
        known[id(node)] = None
        size = VALUE_COST + (len(node.value) if isinstance(node, yaml.ScalarNode) else 0)
        for child in _children(node):
            size += self.measure(child, known, depth + 1)
            if size > MAX_SIZE:
                raise self.refuse(node, "a document of reasonable size", "more", TOO_LARGE_CURE)
        known[id(node)] = size
        return size

    def plain(self, node: yaml.Node, path: KeyPath) -> object:
        self.lines.setdefault(path, node.start_mark.line + 1)
        if len(path) > MAX_DEPTH:
            raise self.refuse(node, f"at most {MAX_DEPTH} levels", "more", "nest less deep")
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.plain(item, (*path, index)) for index, item in enumerate(node.value)]
        return self.scalar(node)

    def mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, object]:
        self.loader.flatten_mapping(node)
        values: dict[str, object] = {}
        for key_node, value_node in node.value:
            key = self._scalar(key_node) if isinstance(key_node, yaml.ScalarNode) else _children(key_node)
            if not isinstance(key, str):
                raise self.refuse(key_node, "a string as key", repr(key), "put it in quotes")
            if key in values:
                raise self.refuse(key_node, f"{key!r} once", "it again", "remove one of the two")
            self.lines[(*path, key)] = key_node.start_mark.line + 1
            values[key] = self.plain(value_node, (*path, key))
        return values

    def scalar(self, node: yaml.Node) -> object:
        value = self._scalar(node) if isinstance(node, yaml.ScalarNode) else node
        if value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value)):
            return value
        raise self.refuse(node, "a value that JSON has", f"{node.value} ({type(value).__name__})", "put it in quotes")

    def _scalar(self, node: yaml.ScalarNode) -> object:
        if node.tag != TEXT and len(node.value) > MAX_NUMBER:
            raise self.refuse(node, f"a number of at most {MAX_NUMBER} characters", "more", "put it in quotes")
        try:
            value: object = self.loader.construct_object(node)
        except (ValueError, LookupError, AttributeError) as error:  # of what makes a value of a text
            kind = node.tag.rpartition(":")[2]
            raise self.refuse(node, f"a value of YAML's type {kind}", node.value, "put it in quotes") from error
        return value

    def refuse(self, node: yaml.Node, expected: str, got: str, cure: str) -> BuildError:
        return BuildError([Mistake(self.shown, expected, got, cure, node.start_mark.line + 1)])
