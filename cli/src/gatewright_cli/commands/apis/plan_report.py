"""A plan, and what has become of one, as people read them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from gatewright_cli.clients.plans import ACTIONS, DELETED, STORED, Applied, Change, Outcome, Plan, Unchanged

Say = Callable[[str], None]
DONE = {"add": "created", "change": "changed", "move": "moved", "delete": "deleted"}
"""What was done, by action; of a rename it has the name before."""


def report_plan(plan: Plan, say: Say, *, diff: bool = False) -> None:
    """A line for each change, below it what it means, and the diff if that is asked for; the counts at the end."""
    for change in plan.changes:
        say(change_line(change))
        for effect in change.effects:
            say(f"  {effect}")
        if diff and change.diff:
            say(change.diff.removesuffix("\n"))
    say(counts_line(plan))


def change_line(change: Change) -> str:
    """`change orders (revision 12)`."""
    name = label(change.kind, change.name)
    if change.before:
        name = f"{change.before} → {name}"
    return f"{change.action} {name}" + (f" (revision {change.revision})" if change.revision is not None else "")


def counts_line(plan: Plan) -> str:
    """`1 to add, 2 to change, 297 unchanged`."""
    counted = Counter(change.action for change in plan.changes)
    parts = [f"{counted[action]} to {action}" for action in ACTIONS if counted[action]]
    return ", ".join([*(parts or ["nothing to do"]), f"{len(plan.unchanged)} unchanged"])


def report_trial(plan: Plan, say: Say) -> None:
    """What would become of each resource of a set, by name, with the diff; where that is empty, what it means."""
    for name, verb, change in _by_name(plan.changes, plan.unchanged):
        say(f"{name} would be {verb}")
        if change and change.diff:
            say(change.diff.removesuffix("\n"))
        elif change:
            for effect in change.effects:
                say(f"  {effect}")


def report_applied(applied: Applied, say: Say, *, waited: bool) -> None:
    """A line for each resource, by name: what was done, and after a wait its state."""
    outcomes = {label(outcome.kind, outcome.name): outcome for outcome in applied.resources}
    for name, verb, _ in _by_name(applied.changes, applied.unchanged):
        outcome = outcomes.pop(name, None)
        say(f"{name} {verb}{_state(outcome) if waited and outcome else ''}")
    renamed = {label(change.kind, change.before) for change in applied.changes if change.before}
    for name, outcome in outcomes.items():
        if name not in renamed:
            say(f"{name} has other Defaults{_state(outcome) if waited else ''}")


def _state(outcome: Outcome) -> str:
    if outcome.state in (DELETED, STORED):
        return ""
    reason = " ".join(outcome.reason.split())
    return f", {outcome.state}: {reason}" if reason else f", {outcome.state}"


def _by_name(changes: tuple[Change, ...], unchanged: tuple[Unchanged, ...]) -> Iterator[tuple[str, str, Change | None]]:
    """Labels, what is done, and the change if there is one."""
    lines: dict[str, tuple[str, Change | None]] = {
        label(same.kind, same.name): ("unchanged", None) for same in unchanged
    }
    for change in changes:
        verb = f"renamed from {change.before}" if change.before else DONE[change.action]
        lines[label(change.kind, change.name)] = verb, change
    yield from ((name, *lines[name]) for name in sorted(lines))


def label(kind: str, name: str) -> str:
    """An API's name, another kind with its name; there is one Gateway."""
    return name if kind == "Api" else kind if kind == "Gateway" else f"{kind} {name}"


def differences(before: Plan, now: Plan) -> Iterator[str]:
    """A line for each change that a plan had, or has, and the other not."""
    for change in before.changes:
        if change not in now.changes:
            yield f"it was: {change_line(change)}"
    for change in now.changes:
        if change not in before.changes:
            yield f"it is now: {change_line(change)}"
