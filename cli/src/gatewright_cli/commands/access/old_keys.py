"""Keys that clients have from elsewhere, as `gatewright consumer key` gives them to consumers. No output has one."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
import msgspec

from gatewright_cli.clients.controller_refusals import NoAnswerError, RefusedError, preflight_error
from gatewright_cli.clients.resources import Resources
from gatewright_cli.commands.access.consumer_keys import keys_of
from gatewright_cli.commands.controller_address import controller_address
from gatewright_cli.commands.options import NamedController
from gatewright_cli.commands.resources.kinds import Resource
from gatewright_cli.commands.value_files import text_of
from gatewright_cli.mistakes import ExitStatus, PreflightError, refuse, worst

STDIN = Path("-")
FORM = '{"consumer": "acme", "name": "ci", "key": "…"}, with expiresAt if it ends'


class OldKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A line of a file of keys. key: its text. expires_at: RFC 3339, UTC; "" for never."""

    consumer: str
    name: str
    key: str
    expires_at: str = ""

    @property
    def digest(self) -> str:
        """The SHA-256 of its text, by which the controller knows it."""
        return hashlib.sha256(self.key.encode(errors="surrogatepass")).hexdigest()

    def to_document(self) -> Resource:
        """What the controller is sent."""
        end = {"expiresAt": self.expires_at} if self.expires_at else {}
        return {"name": self.name, "key": self.key, **end}


def read_text(place: Path) -> str:
    """The content of a file, or of standard input for `-`, without one newline at its end. Raises PreflightError."""
    try:
        content = sys.stdin.buffer.read() if place == STDIN else place.read_bytes()
    except OSError as error:
        raise PreflightError([f"{place}: {error.strerror}: name a file, or - for standard input"]) from error
    text, mistake = text_of(content)
    refuse([f"{place}: {mistake}"] if mistake else [])
    return text


def read_keys(place: Path) -> list[tuple[int, OldKey]]:
    """The keys of a file by their lines. Raises PreflightError with all mistakes."""
    keys: list[tuple[int, OldKey]] = []
    mistakes: list[str] = []
    for number, line in enumerate(read_text(place).splitlines(), 1):
        if not line.strip():
            continue
        try:
            keys.append((number, msgspec.json.decode(line, type=OldKey)))
        except msgspec.MsgspecError as error:
            mistakes.append(f"{place}:{number}: expected a line like {FORM}, got another: {error}")
    refuse(mistakes)
    return keys


@dataclass
class Import:
    """What becomes of the keys of a file. present: those that were there already."""

    source: Resources
    terms: Mapping[str, str]
    place: Path
    imported: int = 0
    present: int = 0
    statuses: list[ExitStatus] = field(default_factory=list)

    async def run(self, keys: Sequence[tuple[int, OldKey]]) -> ExitStatus:
        """Goes on after a refusal. Raises NoAnswerError."""
        by_consumer: dict[str, list[tuple[int, OldKey]]] = {}
        for number, key in keys:
            by_consumer.setdefault(key.consumer, []).append((number, key))
        for consumer, lines in by_consumer.items():
            await self._import_all(consumer, lines)
        return worst(self.statuses)

    async def _import_all(self, consumer: str, lines: Sequence[tuple[int, OldKey]]) -> None:
        """The keys of one consumer."""
        kind = keys_of(consumer)
        try:
            found = await self.source.fetch_all(kind.path, kind.plural)
        except RefusedError as error:
            self._refuse([number for number, _ in lines], consumer, error)
            return
        known = {(key["name"], key["sha256"]) for key in found}
        for number, key in lines:
            if (key.name, key.digest) in known:
                self.present += 1
                continue
            try:
                await self.source.create(kind.path, key.to_document(), self.terms)
                self.imported += 1
            except RefusedError as error:
                self._refuse([number], f"{consumer} {key.name}", error)

    def _refuse(self, numbers: Sequence[int], name: str, error: RefusedError) -> None:
        reasons = "; ".join(str(mistake) for mistake in error.mistakes) or str(error)
        for number in numbers:
            click.echo(f"error: {self.place}:{number}: {name}: {reasons}", err=True)
        self.statuses.append(error.status)

    def __str__(self) -> str:
        parts = [f"{_counted(self.imported)} imported"]
        parts += [f"{self.present} {'was' if self.present == 1 else 'were'} there already"] if self.present else []
        return ", ".join(parts)


def import_keys(
    place: Path, terms: Mapping[str, str], run_dir: Path | None, controller: NamedController | None
) -> ExitStatus:
    """Gives consumers the keys of a file, and reports how many. Raises PreflightError with all mistakes of the file."""
    keys = read_keys(place)
    address = controller_address(run_dir, controller)
    click.echo(f"writing to {address.place}", err=True)
    importing = Import(Resources(address.url, address.token, address.tls), terms, place)
    try:
        status = asyncio.run(importing.run(keys))
    except NoAnswerError as error:
        click.echo(f"{importing}; import the file again to go on", err=True)
        raise preflight_error(error) from error
    click.echo(str(importing))
    if status == ExitStatus.DONE and place != STDIN:
        click.echo(f"{place} has the keys in clear: delete it", err=True)
    return status


def _counted(number: int) -> str:
    return f"{number} key{'' if number == 1 else 's'}"
