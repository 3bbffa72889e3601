"""The real things that policies work with: a provider of identities, a store, an engine of rules.

Each module here is one, and has `running(folder)`, a context manager: within it the thing runs, with its files in
`folder`, and what it yields are the values that examples write as $NAME, by name. An example says `needs: [MODULE]`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from string import Template
from typing import Any


class Counterparts:
    """Each is started when an example first needs it, and ended with all."""

    def __init__(self, folder: Path, running: ExitStack) -> None:
        self._folder, self._running = folder, running
        self._values: dict[str, dict[str, str]] = {}

    def fill(self, example: dict[str, Any]) -> dict[str, Any]:
        """The example with the values of what it needs in the place of $NAME; $$ is a dollar sign."""
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
