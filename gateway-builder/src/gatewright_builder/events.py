"""What a build says while it goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """Something that takes a while begins: in a few words."""

    text: str


@dataclass(frozen=True, slots=True)
class Download:
    """Bytes of `what` have come; `total` is None where the server does not say how many there are. Ends with done."""

    what: str
    received: int
    total: int | None
    done: bool = False


Event = Step | Download
Say = Callable[[Event], None]


def say_nothing(_: Event) -> None:
    """For a build that nobody watches."""
