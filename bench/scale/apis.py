"""The APIs of `bench scale`: five operations and two policies each, and an answer that names the API and its state."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MARK = "X-Api"
"""The header of answers that names the API, and the state in which it answers."""
UPSTREAM = "/scale"
"""The path of all upstreams."""
OPERATIONS = (
    ("GET", "/items"),
    ("POST", "/items"),
    ("GET", "/items/{id}"),
    ("PUT", "/items/{id}"),
    ("DELETE", "/items/{id}"),
)


@dataclass(frozen=True)
class Fleet:
    """APIs by number. upstream: HOST:PORT. pools: different upstreams, which the APIs share. python: whether the second
    policy is one in Python; else both are in Go."""

    upstream: str
    pools: int = 100
    python: bool = False

    def document(self, number: int, state: str = "first") -> dict[str, object]:
        """The definition of an API. state: a word that its answers carry."""
        return {
            "apiVersion": "gatewright.dev/v1",
            "kind": "Api",
            "metadata": {"name": name_of(number)},
            "spec": {
                "displayName": f"Scale {number}",
                "version": "v1.0",
                "context": context_of(number),
                "upstream": {"main": self._pool(number)},
                "policies": [
                    _add_headers("responseHeaders", MARK, mark_of(number, state)),
                    {"name": "set-header", "version": "v1"}
                    if self.python
                    else _add_headers("requestHeaders", "X-Team", f"team-{number % 30}"),
                ],
                "operations": [{"method": method, "path": path} for method, path in OPERATIONS],
            },
        }

    def _pool(self, number: int) -> dict[str, object]:
        """Pools are told apart by a limit that no request reaches."""
        limit = {"maxConnections": 10_000 + number % self.pools}
        return {"url": f"http://{self.upstream}{UPSTREAM}", "circuitBreaker": limit}

    def write(self, numbers: Iterable[int], folder: Path) -> None:
        """Writes a file for each API, as YAML that people would write, and deletes those of earlier runs."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for number in numbers:
            (folder / f"{name_of(number)}.yaml").write_text(as_yaml(self.document(number)))


def name_of(number: int) -> str:
    return f"scale-{number:07}"


def context_of(number: int) -> str:
    return f"/scale/{number:07}"


def path_of(number: int) -> str:
    """A path of the API's with a parameter."""
    return f"{context_of(number)}/items/7"


def mark_of(number: int, state: str) -> str:
    return f"{number}-{state}"


def as_yaml(value: object, indent: int = 0) -> str:
    """Block style, with each text in quotes of JSON, which YAML reads as well."""
    margin = "  " * indent
    if isinstance(value, dict):
        lines = (f"{margin}{key}:{_below(item, indent)}" for key, item in value.items())
        return "".join(lines)
    if isinstance(value, list):
        items = (as_yaml(item, indent + 1) for item in value)
        return "".join(f"{margin}- {item.removeprefix(margin + '  ')}" for item in items)
    return f"{margin}{json.dumps(value)}\n"


def _below(value: object, indent: int) -> str:
    if isinstance(value, dict | list):
        return "\n" + as_yaml(value, indent + 1)
    return f" {json.dumps(value)}\n"


def _add_headers(parameter: str, name: str, value: str) -> dict[str, object]:
    return {"name": "add-headers", "version": "v1", "params": {parameter: [{"name": name, "value": value}]}}
