"""Conditions as statuses have them, without the time of their last change."""

from __future__ import annotations

from gatewright_documents.values import JsonObject

LONGEST_MESSAGE = 32768


def condition(kind: str, *, is_true: bool, reason: str, message: str, generation: int) -> JsonObject:
    """generation: of the object that was looked at."""
    status = "True" if is_true else "False"
    shown = message[:LONGEST_MESSAGE]
    return {"type": kind, "status": status, "reason": reason, "message": shown, "observedGeneration": generation}
