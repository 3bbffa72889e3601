"""Conditions of attachments (`when`), checked by the program that evaluates them: the policy engine.

There is one implementation of CEL in a gateway, the engine's. Asked before an API is stored, it says what the nodes
will say; a controller without an engine at hand leaves the check to the nodes, which reject the API.
"""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Sequence
from pathlib import Path

import msgspec

log = logging.getLogger(__name__)

COMMAND = "check-conditions"
TIMEOUT_SECONDS = 10.0
MOST_KEPT = 10_000
"""Texts whose mistakes are remembered."""


class ConditionMistake(msgspec.Struct, frozen=True):
    """What is wrong with a condition: expected, got, the cure. Line and column count from 1; 0: all of the text."""

    message: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        if not self.line:
            return self.message
        place = f"character {self.column}" if self.line == 1 else f"character {self.column} of its line {self.line}"
        return f"{self.message} (at {place})"


class Conditions:
    """Asks an engine's program. `engine`: None where there is none at hand; then nothing is wrong here."""

    def __init__(self, engine: Path | None = None) -> None:
        self._engine = engine

    def mistakes(self, texts: Sequence[str]) -> list[ConditionMistake | None]:
        """What is wrong with each, None where nothing is. It starts a process, and waits for it.

        An engine that cannot be asked is logged, and leaves the check to the nodes.
        """
        if self._engine is None or not texts:
            return [None] * len(texts)
        try:
            mistakes = self._ask_engine(self._engine, texts)
        except (OSError, subprocess.SubprocessError, msgspec.DecodeError) as error:
            log.error("conditions are left to the nodes to check", extra={"reason": str(error)})
            return [None] * len(texts)
        return mistakes

    def _ask_engine(self, engine: Path, texts: Sequence[str]) -> list[ConditionMistake | None]:
        asked = subprocess.run(
            [engine, COMMAND],
            input=msgspec.json.encode(texts),
            capture_output=True,
            env={},  # the controller's has secrets
            timeout=TIMEOUT_SECONDS,
            check=True,
        )
        mistakes = msgspec.json.decode(asked.stdout, type=list[ConditionMistake | None])
        if len(mistakes) != len(texts):
            raise msgspec.DecodeError(f"expected an answer for each of {len(texts)} conditions, got {len(mistakes)}")
        return mistakes


class RememberedConditions(Conditions):
    """Asks for each text once: for readers that look at the same conditions again and again. Of one build, whose engine
    does not change."""

    def __init__(self, conditions: Conditions) -> None:
        super().__init__()
        self._conditions = conditions
        self._known: dict[str, ConditionMistake | None] = {}

    def mistakes(self, texts: Sequence[str]) -> list[ConditionMistake | None]:
        """What is wrong with each, None where nothing is. Only those of now are remembered, and of before MOST_KEPT."""
        if unknown := [text for text in dict.fromkeys(texts) if text not in self._known]:
            if len(self._known) > MOST_KEPT:
                self._known.clear()
                unknown = list(dict.fromkeys(texts))
            self._known.update(zip(unknown, self._conditions.mistakes(unknown), strict=True))
        return [self._known[text] for text in texts]
