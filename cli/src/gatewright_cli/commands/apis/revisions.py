"""The history of resources: what past writes were, what two of them have different, and how one is put back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from gatewright_cli.clients.management import ApiChange, GatewayStatus, Management
from gatewright_cli.commands.apis.applying import Say, Target, report_outcomes
from gatewright_cli.commands.columns import cell_text, lines_in_columns
from gatewright_cli.commands.resources.kinds import WRITTEN_KINDS
from gatewright_cli.mistakes import ExitStatus, PreflightError

REFERENCE = re.compile(r"(?:(?P<kind>[A-Za-z]+)/)?(?P<name>[^@/]+)(?:@(?P<revision>-?[0-9]{1,18}))?")
API, GATEWAY = "api", "gateway"
REVISED = {kind.name: kind for kind in WRITTEN_KINDS}
NEWEST = 0
HEADINGS = ("REVISION", "ACTION", "AT", "ACTOR", "ORIGIN", "OWNER", "REASON")


@dataclass(frozen=True)
class Reference:
    """A resource, and one of its revisions: `orders`, `orders@3`, `secret/pay@3`, `gateway/gateway@-1`. revision: None
    if none is named.
    """

    kind: str
    name: str
    revision: int | None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Raises PreflightError."""
        found = REFERENCE.fullmatch(text)
        kind = (found["kind"] or API).lower() if found else ""
        if not found or kind not in REVISED or (kind == GATEWAY and found["name"] != GATEWAY):
            others = ", ".join(f"{other}/NAME" for other in REVISED if other not in (API, GATEWAY))
            expected = f"expected NAME or NAME@REVISION of an API, {others} or gateway/gateway"
            raise PreflightError([f"{text}: {expected}: `gatewright history NAME` lists revisions"])
        return cls(kind, found["name"], None if found["revision"] is None else int(found["revision"]))

    @property
    def path(self) -> str:
        """Of the resource in the management API."""
        return REVISED[self.kind].path_of(self.name)

    def of_revision(self) -> int:
        """The revision. Raises PreflightError if none is named."""
        if self.revision is None:
            cure = f"name one, such as {self.name}@-1, the one before the newest"
            raise PreflightError([f"{self.name}: expected a revision behind @, got none: {cure}"])
        return self.revision


class Entry(msgspec.Struct, frozen=True, rename={"source": "from", "successor": "to"}, omit_defaults=True):
    """One write. source: the revision that a rollback was made of; successor: what was renamed has become."""

    revision: int
    action: str
    at: str
    actor: str
    origin: str
    owner: str
    reason: str
    source: str = ""
    successor: str = ""

    def row(self) -> tuple[str, ...]:
        """Under HEADINGS."""
        other = f" to {self.successor}" if self.successor else f" from {self.source}" if self.source else ""
        cells = (str(self.revision), self.action + other, self.at, self.actor, self.origin, self.owner, self.reason)
        return tuple(cell_text(cell) or "-" for cell in cells)


class _Page(msgspec.Struct):
    revisions: list[Entry]
    next: str = ""


class _Diff(msgspec.Struct):
    diff: str


class _TriedStatus(msgspec.Struct):
    change: ApiChange


class _Tried(msgspec.Struct):
    status: _TriedStatus


class _GatewayResource(msgspec.Struct):
    status: GatewayStatus


async def history(management: Management, reference: Reference, limit: int) -> list[Entry]:
    """The newest writes, at most so many, the newest first. Raises DeployError."""
    entries: list[Entry] = []
    path, params = f"{reference.path}/revisions", {"limit": str(min(limit, 1000))}
    while len(entries) < limit:
        page = msgspec.json.decode(await management.read(path, params), type=_Page)
        entries += page.revisions
        if not page.next:
            break
        params = {"limit": str(min(limit - len(entries), 1000)), "before": str(entries[-1].revision)}
    return entries


async def diff(management: Management, before: Reference, after: Reference) -> str:
    """Unified. Raises DeployError."""
    params = {"from": str(before.of_revision()), "to": str(NEWEST if after.revision is None else after.revision)}
    return msgspec.json.decode(await management.read(f"{before.path}/diff", params), type=_Diff).diff


def table(entries: Sequence[Entry]) -> Iterable[str]:
    """Lines: headings, and a row for each entry."""
    return lines_in_columns([HEADINGS, *(entry.row() for entry in entries)])


async def roll_back(target: Target, reference: Reference, seconds: float | None, say: Say) -> ExitStatus:
    """Has the resource as it was. DONE if it is deployed within so many seconds, or if seconds is None. Raises
    DeployError.
    """
    revision = reference.of_revision()
    (before,) = await history(target.management, reference, 1)
    content = await target.management.roll_back(reference.path, revision)
    (after,) = await history(target.management, reference, 1)
    verb = "unchanged" if before == after else f"rolled back to {after.source.rpartition('@')[2]}"
    if reference.kind == API:
        return await report_outcomes(target, {reference.name: verb}, seconds, say)
    if reference.kind != GATEWAY:
        say(f"{reference.name} {verb}")
        return ExitStatus.DONE
    status = msgspec.json.decode(content, type=_GatewayResource).status
    if restart := status.change.restart:
        verb += f", waits for a restart: {', '.join(restart)}"
    say(f"{reference.name} {verb}")
    return ExitStatus.DONE


async def try_roll_back(target: Target, reference: Reference, say: Say) -> None:
    """Reports what `roll_back` would change. Raises DeployError if it would be refused."""
    content = await target.management.roll_back(reference.path, reference.of_revision(), dry_run=True)
    if reference.kind != GATEWAY:
        change = msgspec.json.decode(content, type=_Tried).status.change
        say(f"{reference.name} would be {change.kind}")
        text = change.diff
    else:
        newest = Reference(reference.kind, reference.name, NEWEST)
        text = await diff(target.management, newest, reference)
        say(f"{reference.name} would be {'changed' if text else 'unchanged'}")
    if text:
        say(text.removesuffix("\n"))
