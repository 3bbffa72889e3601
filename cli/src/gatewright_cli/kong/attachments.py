"""What the converters of plugins share: an attachment, its conditions, and the refusal to make one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gatewright_documents.values import JsonObject

from gatewright_cli.kong.credentials import Credentials
from gatewright_cli.kong.deck import Deck, Plugin
from gatewright_cli.kong.report import Report

VERSION = "v1"


class NoCounterpartError(Exception):
    """The plugin cannot be an attachment, as it is configured."""

    def __init__(self, reason: str, cure: str) -> None:
        super().__init__(reason)
        self.reason, self.cure = reason, cure


@dataclass(frozen=True)
class Scene:
    """Where a plugin is attached. is_identified: whether a policy before it finds out who the client is."""

    deck: Deck
    credentials: Credentials
    is_identified: bool

    @property
    def report(self) -> Report:
        """The report of the import."""
        return self.deck.report


def attach(name: str, params: JsonObject | None = None, when: str = "") -> JsonObject:
    """An attachment of a policy that ships."""
    return {
        "name": name,
        "version": VERSION,
        **({"params": params} if params else {}),
        **({"when": when} if when else {}),
    }


def all_of(conditions: Iterable[str]) -> str:
    """The condition that all of these hold; "" for none."""
    found = [condition for condition in conditions if condition]
    return " && ".join(f"({condition})" for condition in found) if len(found) > 1 else "".join(found)


def under(attachment: JsonObject, condition: str) -> JsonObject:
    """The attachment, limited by one more condition."""
    when = all_of([condition, attachment.get("when", "")])
    return {**attachment, **({"when": when} if when else {})}


def closed(plugin: str) -> JsonObject:
    """The answer in the place of a plugin that may have refused requests: no request passes in its stead."""
    body = f"Kong's plugin {plugin} was not carried over. This route is closed until a policy takes its place.\n"
    return attach("respond", {"statusCode": 501, "body": body})


def leave_out(plugin: Plugin, report: Report, **reasons: tuple[str, str]) -> None:
    """Reports fields of the configuration that have no counterpart, where they say something."""
    for key, (reason, cure) in reasons.items():
        value = plugin.config.value.get(key)
        if value is None or value is False or value in ("", [], {}):
            plugin.config.see(key)
        else:
            report.left_out(plugin.config.where(key), reason, cure)
