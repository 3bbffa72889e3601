"""What a reload has changed, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gatewright_cli.run.control import Answer


def summary(answer: Answer) -> str:
    """The result of a successful reload, for a person."""
    head = f"reloaded generation={answer.generation} took={answer.seconds:.2f}s"
    lines = [
        head
        if answer.changed or answer.restarted or answer.listens
        else f"nothing to reload generation={answer.generation}"
    ]
    if answer.changed:
        lines.append(f"  changed: {', '.join(answer.changed)}")
    if answer.restarted:
        kept = f"; unchanged: {', '.join(answer.kept)}" if answer.kept else ""
        lines.append(f"  executors restarted: {', '.join(answer.restarted)}{kept}")
    if answer.listens:
        lines.append("  listeners: as the Gateway says now")
    lines.append("  " + ", ".join(f"{part} {seconds:.2f} s" for part, seconds in answer.spent.items()))
    return "\n".join(lines)
