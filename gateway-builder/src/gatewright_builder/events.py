"""What a build says while it goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

FIRST_SECONDS = 2.0
LONGEST_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Step:
    """Something that takes a while begins: in a few words."""

    text: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """A step, or the part of it that `text` names, is not over yet, so many seconds after it began."""

    text: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Download:
    """Bytes of `what` have come; `total` is None where the server does not say how many there are. Ends with done."""

    what: str
    received: int
    total: int | None
    done: bool = False


@dataclass(frozen=True, slots=True)
class Note:
    """Something that is right, and perhaps not meant: what it is, where, and what to write instead."""

    text: str


Event = Step | Waiting | Download | Note
Say = Callable[[Event], None]


def say_nothing(_: Event) -> None:
    """For a build without a display."""


@contextmanager
def step(
    say: Say, text: str, part: Callable[[], str] | None = None, first_seconds: float = FIRST_SECONDS
) -> Iterator[None]:
    """A Step, and as long as the body runs a Waiting after 2 s, 4 s, 8 s, 16 s, then every 30 s.

    part: names what of the step is under way at that moment; by default the step itself.
    """
    say(Step(text))
    over = threading.Event()
    teller = threading.Thread(
        target=_tell, args=(say, part or (lambda: text), over, first_seconds), name="progress", daemon=True
    )
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()


def _tell(say: Say, part: Callable[[], str], over: threading.Event, first_seconds: float) -> None:
    began, pause = time.monotonic(), first_seconds
    while not over.wait(pause):
        seconds = time.monotonic() - began
        say(Waiting(part(), seconds))
        pause = min(seconds, LONGEST_SECONDS)
