"""The real servers that policies work with: an identity provider, a store, a policy decision point.

Each module here is one and has `running(folder)`, a context manager that runs the server with its files in `folder`
and yields the values that examples write as $NAME, by name. An example says `needs: [MODULE]`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from string import Template
from typing import Any


class Counterparts:
    """Starts each server when an example first needs it, and ends all of them together."""

    def __init__(self, folder: Path, running: ExitStack) -> None:
        self._folder, self._running = folder, running
        self._values: dict[str, dict[str, str]] = {}

    def fill(self, example: dict[str, Any]) -> dict[str, Any]:
        """The example with the values of its servers in place of $NAME; $$ is a dollar sign."""
        values: dict[str, str] = {}
        for name in example.get("needs", []):
            values |= self._start(name)
        return _fill(example, values) if values else example

    def _start(self, name: str) -> dict[str, str]:
        if name not in self._values:
            folder = self._folder / name
            folder.mkdir()
            module = importlib.import_module(f"e2e.kit.counterparts.{name}")
            self._values[name] = self._running.enter_context(module.running(folder))
        return self._values[name]


@contextmanager
def counterparts(folder: Path) -> Iterator[Counterparts]:
    with ExitStack() as running:
        yield Counterparts(folder, running)


def _fill(value: Any, values: dict[str, str]) -> Any:
    if isinstance(value, str):
        return Template(value).substitute(values)
    if isinstance(value, dict):
        return {key: _fill(member, values) for key, member in value.items()}
    if isinstance(value, list):
        return [_fill(item, values) for item in value]
    return value
