"""The mistakes that an operator has to correct, all at once. Any room but supervision may raise them; `main` prints.

Also the exit statuses of commands that talk to a controller: docs/reference/exit-statuses.md has the table.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum


class ExitStatus(IntEnum):
    """What a command that talks to a controller exits with. Scripts rely on the numbers."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    """click exits with it by itself."""
    NOT_FOUND = 3
    CONFLICT = 4
    NOT_DEPLOYED = 5
    UNREACHABLE = 6
    NOT_ALLOWED = 7


STATUSES = {
    401: ExitStatus.NOT_ALLOWED,
    403: ExitStatus.NOT_ALLOWED,
    404: ExitStatus.NOT_FOUND,
    409: ExitStatus.CONFLICT,
    412: ExitStatus.CONFLICT,
    429: ExitStatus.UNREACHABLE,
    503: ExitStatus.UNREACHABLE,
}
"""By the status of the controller's answer. 429, 503: the controller does not answer now, and a retry may help."""
WORST_FIRST = (
    ExitStatus.NOT_ALLOWED,
    ExitStatus.UNREACHABLE,
    ExitStatus.FAILED,
    ExitStatus.CONFLICT,
    ExitStatus.NOT_FOUND,
    ExitStatus.NOT_DEPLOYED,
)


def exit_status_of(http_status: int) -> ExitStatus:
    """The exit status for a controller's error answer."""
    return STATUSES.get(http_status, ExitStatus.FAILED)


def worst(statuses: Iterable[ExitStatus]) -> ExitStatus:
    """The exit status of a command that did several things; DONE if all are."""
    found = set(statuses)
    return next((status for status in WORST_FIRST if status in found), ExitStatus.DONE)


class PreflightError(Exception):
    """`mistakes` has one sentence for each: expected, got, where, the cure. status: what the command exits with."""

    def __init__(self, mistakes: list[str], status: ExitStatus = ExitStatus.FAILED) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes, self.status = mistakes, status


def refuse(mistakes: list[str]) -> None:
    """Raises PreflightError if there are any."""
    if mistakes:
        raise PreflightError(mistakes)
