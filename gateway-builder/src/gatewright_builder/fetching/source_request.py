"""One policy's sources, while they are being looked for."""

from __future__ import annotations

from dataclasses import dataclass

from gatewright_builder.events import Say
from gatewright_builder.fetching.archive import LIMITS, Limits
from gatewright_builder.fetching.cache import Cache
from gatewright_builder.fetching.retry import PAUSES
from gatewright_builder.manifest import Entry, Manifest
from gatewright_builder.mistake import BuildError
from gatewright_builder.origin import Pin
from gatewright_builder.sources import Sources

CHANGED = "if that is meant to be so, take its entry out of build.lock"


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """pauses: in seconds, before what has failed by accident is tried again. archive: what one may have."""

    pauses: tuple[float, ...] = PAUSES
    archive: Limits = LIMITS


USUAL = FetchLimits()


@dataclass(frozen=True, slots=True)
class SourceRequest:
    """What to find: an entry of a build.yaml, with what it was pinned to, if it was.

    product: Gatewright's own sources, which have the policies that ship.
    """

    manifest: Manifest
    entry: Entry
    pin: Pin | None
    cache: Cache
    say: Say
    product: Sources
    limits: FetchLimits = USUAL

    @property
    def name(self) -> str:
        """What the source is called in mistakes."""
        return self.entry.source

    def error(self, expected: str, got: str, cure: str) -> BuildError:
        """The only mistake of this request, at its line of build.yaml."""
        return BuildError([self.manifest.mistake(self.entry, expected, got, cure)])

    def verify(self, digest: str) -> None:
        """Raises BuildError unless the pin, if there is one, has this digest."""
        if self.pin and self.pin.digest != digest:
            raise self.error(f"{self.name} as build.lock has it, {self.pin.digest}", digest, CHANGED)
