"""The end of a run: what each component cost, what took longest, what was left out, and how to repeat what failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from suite.commands import Finished
from suite.components import Component, lies_in, repository_files
from suite.outcome import Outcome

SLOWEST = 10
BOUND_SECONDS = 20.0
"""A test that takes longer says why: `@pytest.mark.slow(REASON)`, in Go `t.Log("slow: REASON")`. In a whole run four
processes share two cores: alone it is half of that."""
REPEATS = 20


def render(
    components: Sequence[Component], finished: Sequence[Finished], left_out: dict[str, str], seconds: float, seed: int
) -> str:
    outcomes = [outcome for command in finished for outcome in command.outcomes]
    parts = (
        _render_components(components, outcomes),
        _render_commands(finished),
        _render_slowest(outcomes),
        _render_left_out(left_out, finished),
        _render_undeclared(find_undeclared(components, outcomes)),
        _render_failures(outcomes, finished),
    )
    counts = Counter(outcome.outcome for outcome in outcomes)
    broken = sum(1 for command in finished if command.mistake)
    closing = f"{counts['passed']} passed, {counts['failed'] + broken} failed, {counts['skipped']} skipped"
    return "\n\n".join([*filter(None, parts), f"{seconds:.0f} s, seed {seed}", f"tests: {closing}"])


def component_of(outcome: Outcome, components: Iterable[Component]) -> str:
    """The component whose folder is the longest that the test's file lies in."""
    places = [(path, component.name) for component in components for path in component.tests]
    fitting = [(len(path), name) for path, name in places if lies_in(outcome.file, [path])]
    return max(fitting)[1] if fitting else "?"


def _render_components(components: Sequence[Component], outcomes: list[Outcome]) -> str:
    by_component: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        by_component.setdefault(component_of(outcome, components), []).append(outcome)
    rows = [["component", "tests", "failed", "skipped", "seconds", "CPU s"]]
    for name, tests in sorted(by_component.items(), key=lambda pair: -sum(test.seconds for test in pair[1])):
        counts = Counter(test.outcome for test in tests)
        seconds, cpu = sum(test.seconds for test in tests), sum(test.cpu for test in tests)
        numbers = (len(tests), counts["failed"], counts["skipped"], round(seconds), round(cpu))
        rows.append([name, *(f"{number:,}" if number else "-" for number in numbers)])
    return "\n".join(_align(rows))


def _render_commands(finished: Sequence[Finished]) -> str:
    rows = [["command", "tests", "wall s", "CPU s"]]
    rows += [
        [command.name, f"{len(command.outcomes):,}", f"{command.seconds:.0f}", f"{command.cpu:.0f}"]
        for command in finished
    ]
    return "\n".join(_align(rows))


def _render_slowest(outcomes: list[Outcome]) -> str:
    slowest = sorted(outcomes, key=lambda outcome: -outcome.call)
    tests = slowest[:SLOWEST] + [test for test in slowest[SLOWEST:] if test.call > BOUND_SECONDS and not test.slow]
    if not tests:
        return ""
    rows = [[f"{test.call:.1f} s", test.test, test.slow or _missing_reason(test)] for test in tests]
    return "\n".join(["the slowest tests, without their fixtures:", *_align(rows)])


def _missing_reason(test: Outcome) -> str:
    return f"above {BOUND_SECONDS:.0f} s, and gives no reason" if test.call > BOUND_SECONDS else ""


def _render_left_out(left_out: dict[str, str], finished: Sequence[Finished]) -> str:
    lines = [f"  {name}: {reason}" for name, reason in left_out.items()]
    cached = sum(len(command.cached) for command in finished)
    lines += [f"  {cached} Go packages: go test has their results of the same files"] if cached else []
    return "\n".join(["left out (ALL=1 leaves nothing out):", *lines]) if lines else ""


def find_undeclared(components: Sequence[Component], outcomes: Iterable[Outcome]) -> dict[str, list[str]]:
    """By component, the files that its tests open but that it does not depend on."""
    by_name = {component.name: component for component in components}
    known = frozenset(repository_files())
    undeclared: dict[str, set[str]] = {}
    for outcome in outcomes:
        component = by_name.get(component_of(outcome, components))
        if component is None or not component.depends or component.is_end_to_end:
            continue
        unknown = [
            name
            for name in outcome.reads
            if name in known
            and (not lies_in(name, (*component.tests, *component.depends)) or lies_in(name, component.excepted))
        ]
        if unknown:
            undeclared.setdefault(component.name, set()).update(unknown)
    return {name: sorted(files) for name, files in undeclared.items()}


def _render_undeclared(undeclared: dict[str, list[str]]) -> str:
    lines = [f"  {name}: {file}" for name, files in undeclared.items() for file in files]
    return "\n".join(["tests read what components.toml does not say that they depend on:", *lines]) if lines else ""


def _render_failures(outcomes: list[Outcome], finished: Sequence[Finished]) -> str:
    failed = [outcome for outcome in outcomes if outcome.outcome == "failed"]
    lines = [_render_repeat(test) for test in failed[:REPEATS]]
    if len(failed) > REPEATS:
        lines.append(f"  and {len(failed) - REPEATS} more: see build/tests")
    lines += [f"  {command.name}: {command.mistake}" for command in finished if command.mistake]
    return "\n".join(["failed; each one again, alone:", *lines]) if lines else ""


def _render_repeat(outcome: Outcome) -> str:
    """The command that repeats the test, and below it what the test printed."""
    return "\n".join([f"  {outcome.repeat}", *(f"    {line}" for line in outcome.output.splitlines())])


def _align(rows: list[list[str]]) -> Iterator[str]:
    """Numbers, which begin in the second row, to the right; the first column and the last of text to the left."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if _is_number(rows[-1][index]) else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield ("  " + "  ".join(cells)).rstrip()


def _is_number(cell: str) -> bool:
    return cell == "-" or cell.replace(",", "").replace(".", "").removesuffix(" s").isdigit()
