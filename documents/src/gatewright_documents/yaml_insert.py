"""One more item at the end of a list in YAML that a person has written: all that is there stays byte for byte."""

from __future__ import annotations

from collections.abc import Mapping

import yaml

from gatewright_documents.mistake import Unreadable
from gatewright_documents.yaml_reader import read_yaml
from gatewright_documents.yaml_writer import scalar


def with_item(text: str, key: str, item: Mapping[str, str]) -> str | None:
    """The document, a mapping, with the item behind the last one of its list `key`, in the form of that one.

    None where it has no such list, or where one more item could be written in no simple way.
    """
    sequence = _list_of(text, key)
    if sequence is None:
        return None
    changed = _in_brackets(text, sequence, item) if sequence.flow_style else _in_lines(text, sequence, item)
    return changed if _differs_by(text, changed, key, item) else None


def _list_of(text: str, key: str) -> yaml.SequenceNode | None:
    try:
        root = yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError:
        return None
    entries = root.value if isinstance(root, yaml.MappingNode) else []
    return next(
        (node for name, node in entries if name.value == key and isinstance(node, yaml.SequenceNode)),
        None,
    )


def _in_brackets(text: str, sequence: yaml.SequenceNode, item: Mapping[str, str]) -> str:
    end = sequence.value[-1].end_mark.index if sequence.value else sequence.start_mark.index + 1
    return f"{text[:end]}{', ' if sequence.value else ''}{_flow(item)}{text[end:]}"


def _in_lines(text: str, sequence: yaml.SequenceNode, item: Mapping[str, str]) -> str:
    last = sequence.value[-1]
    lines = text.splitlines(keepends=True)
    behind = _last_line(last) + 1
    indent = " " * sequence.start_mark.column
    if isinstance(last, yaml.ScalarNode) or last.flow_style:
        added = f"{indent}- {_flow(item)}\n"
    else:
        pairs = [f"{key}: {scalar(value)}\n" for key, value in item.items()]
        added = f"{indent}- {f'{indent}  '.join(pairs)}"
    if not lines[behind - 1].endswith("\n"):
        lines[behind - 1] += "\n"
    return "".join([*lines[:behind], added, *lines[behind:]])


def _last_line(node: yaml.Node) -> int:
    """Where a node ends. A collection in lines would say where the next one begins: its last value knows."""
    if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">"):
        return int(node.end_mark.line) - 1  # it says where the next line begins
    if not isinstance(node, yaml.CollectionNode) or node.flow_style or not node.value:
        return int(node.end_mark.line)
    last = node.value[-1]
    return _last_line(last[1] if isinstance(node, yaml.MappingNode) else last)


def _flow(item: Mapping[str, str]) -> str:
    return f"{{{', '.join(f'{key}: {scalar(value)}' for key, value in item.items())}}}"


def _differs_by(before: str, after: str, key: str, item: Mapping[str, str]) -> bool:
    """Whether the item at the end is all that makes the difference, as our own reader sees it."""
    try:
        old, new = read_yaml(before.encode()), read_yaml(after.encode())
    except Unreadable:
        return False
    return isinstance(old, dict) and new == {**old, key: [*old[key], dict(item)]}
