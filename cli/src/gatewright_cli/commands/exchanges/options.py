"""The options that select exchanges."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

DEFAULT_SECONDS = 600
LONGEST_SECONDS = 3600
FILTER = {
    "api": click.option("--api", metavar="NAME", help="Exchanges of this API."),
    "operation": click.option("--operation", metavar="OPERATION", help='Exchanges of this operation: "GET /{id}".'),
    "policy": click.option("--policy", metavar="NAME[:VERSION]", help="Exchanges whose chain has this policy."),
    "path": click.option(
        "--path", metavar="PREFIX", help="Exchanges whose path, as the client sent it, begins with this."
    ),
    "header": click.option("--header", metavar="NAME[=VALUE]", help="Exchanges whose request has this header."),
    "status": click.option(
        "--status", metavar="STATUS", multiple=True, help="Exchanges answered with this status, 503 or 5xx; repeatable."
    ),
    "errors": click.option(
        "--errors", is_flag=True, help="Exchanges in which a policy failed, or whose status is 500 or above."
    ),
    "shadow": click.option(
        "--shadow",
        type=click.Choice(["different", "same", "failed", "skipped"]),
        help="Exchanges in which a shadow attachment had this result.",
    ),
    "id": click.option("--id", metavar="REQUEST_ID", help="The exchange of this request."),
    "client": click.option("--client", metavar="ADDRESS[:PORT]", help="Exchanges of this client."),
    "sample": click.option("--sample", metavar="SHARE", help="This share of the exchanges: 0.01 for one in a hundred."),
}
MORE = (
    click.option("--kept", is_flag=True, help="Exchanges that nodes have kept, and no new ones."),
    click.option(
        "--seconds",
        type=click.IntRange(1, LONGEST_SECONDS),
        default=DEFAULT_SECONDS,
        show_default=True,
        help="How long to watch or record.",
    ),
    click.option("--limit", type=click.IntRange(1), default=None, help="End after this many; with --kept, the newest."),
)


@dataclass(frozen=True)
class Selection:
    """The values of the options. wanted: the members of the filter that were set, as texts."""

    wanted: tuple[tuple[str, str], ...]
    kept: bool
    seconds: int
    limit: int | None

    @property
    def query(self) -> list[tuple[str, str]]:
        """The parameters of /v1/exchanges."""
        limit = [("limit", str(self.limit))] if self.limit and not self.kept else []  # nodes send the oldest first
        return [*self.wanted, ("seconds", str(self.seconds)), *([("kept", "true")] if self.kept else []), *limit]

    @property
    def filter(self) -> dict[str, object]:
        """The filter as JSON, for a recording. An invalid value stays a text, which the controller refuses."""
        statuses = [status for name, value in self.wanted if name == "status" for status in value.split(",")]
        return {name: statuses if name == "status" else _to_json(name, value) for name, value in self.wanted}


def selecting(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command with these options. It gets a `selection`."""

    @functools.wraps(command)
    def wrapper(*args: Any, kept: bool, seconds: int, limit: int | None, **options: Any) -> Any:
        wanted = tuple((name, text) for name in FILTER for text in _texts(options.pop(name)))
        return command(*args, selection=Selection(wanted, kept, seconds, limit), **options)

    decorated: Callable[..., Any] = wrapper
    for option in reversed((*FILTER.values(), *MORE)):
        decorated = option(decorated)
    return decorated


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, tuple):
        return value
    if value is True:
        return ("true",)
    return (value,) if value else ()


def _to_json(name: str, value: str) -> object:
    match name:
        case "errors":
            return True
        case "header":
            header, equals, wanted = value.partition("=")
            return {"name": header, "value": wanted} if equals else {"name": header}
        case "sample":
            with contextlib.suppress(ValueError):
                return float(value)
    return value
