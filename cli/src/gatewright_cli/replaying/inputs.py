"""Files of recorded exchanges."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from gatewright_documents.values import JsonObject

from gatewright_cli.exchanges.recorded import Exchange, UnreadableError, read
from gatewright_cli.mistakes import PreflightError, refuse

SUFFIXES = (".json", ".jsonl", ".ndjson")


@dataclass(frozen=True)
class Input:
    """A recorded exchange. name: its file, with the line if the file has several. document: the exchange as JSON."""

    name: str
    exchange: Exchange
    document: JsonObject

    def attachments(self, policy: str) -> list[int]:
        """The positions in the chain at which the policy of this name ran."""
        ran = {execution.index for execution in self.exchange.executions if _name(execution.policy) == policy}
        return [number for number, key in enumerate(self.exchange.policies) if _name(key) == policy and number in ran]


def _name(key: str) -> str:
    return key.partition(":")[0]


def read_inputs(paths: Sequence[Path]) -> list[Input]:
    """All exchanges of files and folders. Raises PreflightError with all mistakes."""
    inputs: list[Input] = []
    mistakes: list[str] = []
    for path in paths:
        try:
            for file in _files(path):
                inputs += _exchanges(file)
        except PreflightError as error:
            mistakes += error.mistakes
    refuse(mistakes)
    return inputs


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
    if not files:
        raise PreflightError([f"{path}: expected files of `gatewright record`, NAME.exchange.json, got none"])
    return files


def _exchanges(file: Path) -> Iterator[Input]:
    try:
        content = file.read_bytes().strip()
    except OSError as error:
        raise PreflightError([f"{file}: expected a file of recorded exchanges: {error.strerror}"]) from error
    try:
        msgspec.json.decode(content)
    except msgspec.DecodeError:
        lines = content.splitlines()
        if len(lines) > 1:
            for number, line in enumerate(lines, 1):
                yield _input(f"{file}:{number}", line)
            return
    yield _input(str(file), content)


def _input(name: str, content: bytes) -> Input:
    try:
        return Input(name, read(content), msgspec.json.decode(content))
    except UnreadableError as error:
        raise PreflightError([f"{name}: {error}"]) from error
