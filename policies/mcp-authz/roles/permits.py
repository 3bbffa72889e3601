"""What roles may list and call."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from sdk.policy import Identity

ANY = "*"
_SEPARATORS = re.compile(r"[/\\?#]")


class Names:
    """Names and patterns with *."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._exact: set[str] = set()
        self._patterns: list[list[str]] = []
        for pattern in patterns:
            if ANY in pattern:
                self._patterns.append(pattern.split(ANY))
            else:
                self._exact.add(pattern)

    def fit(self, name: str) -> bool:
        return name in self._exact or any(_fits(name, parts) for parts in self._patterns)


def _fits(name: str, parts: list[str]) -> bool:
    """Whether the name has these parts one after the other, with any text between. In linear time."""
    first, *inner, last = parts
    if not name.startswith(first) or not name.endswith(last) or len(name) < len(first) + len(last):
        return False
    at, end = len(first), len(name) - len(last)
    for part in inner:
        found = name.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


@dataclass(frozen=True, slots=True)
class Permit:
    """What one role may list and call."""

    tools: Names
    prompts: Names
    resources: Names
    any_resource: bool
    """Whether URIs with segments that point elsewhere are permitted too."""

    def allows(self, kind: str, name: str) -> bool:
        match kind:
            case "tool":
                return self.tools.fit(name)
            case "prompt":
                return self.prompts.fit(name)
            case "resource":
                return self.any_resource or (self.resources.fit(name) and not has_dot_segment(name))
        return False


def permit_of(params: Mapping[str, Any]) -> Permit:
    tools, prompts, resources = (params.get(kind, []) for kind in ("tools", "prompts", "resources"))
    return Permit(Names(tools), Names(prompts), Names(resources), any_resource=ANY in resources)


def has_dot_segment(uri: str) -> bool:
    """Whether a segment of the URI is . or .., as any server might read it, encoded once or twice."""
    return any(
        segment in (".", "..")
        for text in (uri, unquote(uri), unquote(unquote(uri)))
        for segment in _SEPARATORS.split(text)
    )


def roles_of(identity: Identity | None, source: Mapping[str, Any]) -> Iterator[str]:
    """The roles by the parameter `role`; none without an identity."""
    if identity is None:
        return
    match source["from"]:
        case "scopes":
            yield from identity.scopes
        case "consumer":
            yield identity.consumer
        case "subject":
            yield identity.subject
        case "label":
            yield identity.labels.get(source["name"], "")
        case "claim":
            claim = _claim(identity.claims, source["name"])
            yield from (role for role in (claim if isinstance(claim, list) else [claim]) if isinstance(role, str))


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    if name in claims:
        return claims[name]
    value: Any = claims
    for member in name.split("."):
        value = value.get(member) if isinstance(value, Mapping) else None
    return value
