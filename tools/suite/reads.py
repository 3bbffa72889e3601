"""The files of the repository that each file of tests opens: a component's `depends` is checked against it.

Modules that are imported are left out: a process imports each once, for whichever test comes first, and import-linter's
layers hold the rules of imports. A command that is started with a file of the repository as an argument has read it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from suite.components import ROOT

PREFIX = f"{ROOT}{os.sep}"
MODULES = (".py", ".pyc")
NOT_OURS = (".git", ".venv", ".tools", "build", "dist", "__pycache__", ".gatewright")
"""Folders that no component depends on, because their files are made from others."""


class Reads:
    """The files that are opened while `of(FILE)` is entered. Audit hooks stay as long as the process."""

    def __init__(self) -> None:
        self._found: dict[str, set[str]] = {}
        self._current: set[str] | None = None
        sys.addaudithook(self._note)

    @contextmanager
    def of(self, test_file: str) -> Iterator[None]:
        """Attributes files opened meanwhile to this file of tests."""
        before, self._current = self._current, self._found.setdefault(test_file, set())
        try:
            yield
        finally:
            self._current = before

    def take(self, test_file: str) -> list[str]:
        """The files that the test file has read since the last call."""
        files = sorted(self._found.pop(test_file, ()))
        return [name.encode("utf-8", "replace").decode() for name in files]  # xdist carries no other text

    def _note(self, event: str, arguments: tuple[object, ...]) -> None:
        if self._current is None:
            return
        if event == "open":
            self._add(arguments[0], imported=MODULES)
        elif event == "subprocess.Popen" and isinstance(arguments[1], list | tuple):
            for argument in arguments[1]:
                if str(argument).startswith(PREFIX):  # a word may be a file's name by chance
                    self._add(argument, imported=())

    def _add(self, path: object, imported: tuple[str, ...]) -> None:
        if not isinstance(path, str | os.PathLike):
            return
        name = os.path.abspath(os.fspath(path)) if isinstance(os.fspath(path), str) else ""  # noqa: PTH100 - of each open
        if not name.startswith(PREFIX) or name.endswith(imported):
            return
        relative = name.removeprefix(PREFIX)
        if self._current is not None and not relative.startswith(tuple(f"{folder}/" for folder in NOT_OURS)):
            self._current.add(relative)
