"""Conditions as statuses have them, without the time of their last change."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from gatewright_documents.values import JsonObject

LONGEST_MESSAGE = 4096


class Problem(msgspec.Struct, frozen=True):
    """Why something is not as its object asks. reason: of a condition, in CamelCase. message: what to do, too."""

    reason: str
    message: str


def condition(kind: str, *, is_true: bool | None, reason: str, message: str, generation: int) -> JsonObject:
    """is_true: None is `Unknown`. generation: of the object that was looked at."""
    status = "Unknown" if is_true is None else str(is_true)
    shown = message[:LONGEST_MESSAGE]
    return {"type": kind, "status": status, "reason": reason, "message": shown, "observedGeneration": generation}


def good_or(kind: str, problem: Problem | None, generation: int, reason: str = "") -> JsonObject:
    """True where there is no problem. reason: where it is true; by default the kind's own name."""
    if problem is None:
        return condition(kind, is_true=True, reason=reason or kind, message="", generation=generation)
    return condition(kind, is_true=False, reason=problem.reason, message=problem.message, generation=generation)


def joined(problems: Iterable[Problem]) -> Problem | None:
    """All problems as one: the first one's reason, the messages of all, each once."""
    found = list(dict.fromkeys(problems))
    if not found:
        return None
    return Problem(found[0].reason, "; ".join(dict.fromkeys(problem.message for problem in found)))
