"""Runs the test suite: `make test`.

    python tools/run_tests.py                 components that changed since they passed; prints those left out, and why
    python tools/run_tests.py --all           everything, Go's tests in random order too
    python tools/run_tests.py --part cli      components (--part cli sdk: two), whether they have changed or not
    python tools/run_tests.py --list          the components

A failure in one component keeps no other from running. build/tests has the runners' outputs: a line of JSON and a
JUnit case for each test.
"""

from __future__ import annotations

import argparse
import secrets
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from suite import bytecode, commands, components, record, report
from suite.commands import RESULTS, Finished
from suite.components import ROOT, Component

ON_ITS_OWN = "alone"
"""The marker of tests that measure, or want the machine to themselves."""
IN_ENVOY = "in_envoy_too"
"""The marker of tests that also run with the policy engine inside Envoy."""


def main() -> int:
    arguments = _parse_arguments()
    known = components.read_components()
    if arguments.list:
        print("\n".join(component.name for component in known))
        return 0
    candidates = _select_parts(known, arguments.part) if arguments.part else known
    begun = time.monotonic()
    digests = {component.name: component.digest() for component in candidates}
    reasons = {} if arguments.all or arguments.part else _find_left_out(candidates, digests)
    selected = [component for component in candidates if component.name not in reasons]
    seed = arguments.seed if arguments.seed is not None else secrets.randbits(32)
    _print_plan(selected, reasons, seed)
    RESULTS.mkdir(parents=True, exist_ok=True)
    finished = _run(selected, seed, arguments)
    _keep(selected, finished, digests, arguments.record)
    text = report.render(known, finished, reasons, time.monotonic() - begun, seed)
    (RESULTS / "report.txt").write_text(text + "\n")
    print(f"\n{text}", flush=True)
    return 1 if _has_failed(finished) else 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="leave nothing out")
    parser.add_argument("--part", nargs="+", default=[], help="components, or folders of one or several")
    parser.add_argument("--workers", type=int, default=4, help="processes side by side (default: 4)")
    parser.add_argument("--seed", type=int, help="of the order in which tests run (default: random)")
    parser.add_argument("--record", action="store_true", help="write tools/suite/recorded.json, to be committed")
    parser.add_argument("--list", action="store_true", help="print the components")
    return parser.parse_args()


def _print_plan(selected: list[Component], reasons: dict[str, str], seed: int) -> None:
    names = ", ".join(component.name for component in selected)
    print(f"tests: {names or 'nothing has changed'} (SEED={seed})", flush=True)
    for name, reason in reasons.items():
        print(f"tests: {name} is left out: {reason}", flush=True)


def _select_parts(known: tuple[Component, ...], parts: list[str]) -> tuple[Component, ...]:
    """The components of these names, of these words of names, or with tests below these folders."""
    by_part = {part: [component for component in known if _is_named(component, part.strip("/"))] for part in parts}
    if unknown := [part for part, found in by_part.items() if not found]:
        names = ", ".join(sorted(component.name for component in known))
        got = " ".join(unknown)
        print(f"test: expected components of the project, got PART={got}; there are: {names}", file=sys.stderr)
        raise SystemExit(2)
    return tuple(component for component in known if any(component in found for found in by_part.values()))


def _is_named(component: Component, part: str) -> bool:
    tests = any(components.lies_in(path, [part]) for path in component.tests)
    return tests or part in {component.name, *component.name.split("/")}


def _find_left_out(selected: tuple[Component, ...], digests: dict[str, str]) -> dict[str, str]:
    """The reasons of components that need not run. Go's are not checked: go test has its own cache."""
    reasons = {}
    for component in selected:
        where = record.passed_before(component, digests[component.name])
        if where and component.kind != "go":
            reasons[component.name] = f"it passed {where}, and nothing that it depends on has changed since"
    return reasons


def _run(selected: list[Component], seed: int, arguments: argparse.Namespace) -> list[Finished]:
    """Units of all languages side by side, then end to end, then what wants the machine to itself."""
    pool = ("--numprocesses", str(arguments.workers), "--dist", "loadfile", "--no-loadscope-reorder")
    modules = _paths_of(component for component in selected if component.kind == "go")
    units = _paths_of(component for component in selected if component.kind == "pytest" and not component.is_end_to_end)
    through_envoy = [component for component in selected if component.is_end_to_end and component.kind == "pytest"]
    _prepare(component for component in selected if not component.is_end_to_end)
    finished = []
    with ThreadPoolExecutor() as threads:
        prepared = threads.submit(_prepare, through_envoy)
        whole = [] if arguments.part else [*units, *_paths_of(through_envoy)]
        compiled = threads.submit(bytecode.compile_once, whole, arguments.workers)
        running = []
        if modules:
            packages = [f"./{module}/..." for module in modules]
            running.append(threads.submit(commands.run_go, "go", packages, seed if arguments.all else None))
        running += [threads.submit(commands.run_node, component) for component in selected if component.kind == "node"]
        compiled.result()
        if units:
            running.append(threads.submit(commands.run_pytest, "units", units, seed, *pool))
        finished += [future.result() for future in running]
        prepared.result()
    if through_envoy:
        finished += _run_through_envoy(_paths_of(through_envoy), seed, pool)
    return finished


def _run_through_envoy(tests: list[str], seed: int, pool: tuple[str, ...]) -> Iterator[Finished]:
    """Both modes of the policy engine side by side, then what wants the machine to itself."""
    by_mode: dict[str, tuple[list[str], tuple[str, ...]]] = {"e2e": (tests, ("-m", f"not {ON_ITS_OWN}"))}
    if files := [*components.find_word(IN_ENVOY, tests)]:
        by_mode["in-envoy"] = files, ("-m", IN_ENVOY, "--engine", "in-envoy")
    with ThreadPoolExecutor() as threads:
        running = [
            threads.submit(commands.run_pytest, name, files, seed, *pool, *options)
            for name, (files, options) in by_mode.items()
        ]
        yield from (future.result() for future in running)
    if files := [*components.find_word(ON_ITS_OWN, tests)]:
        yield commands.run_pytest(ON_ITS_OWN, files, seed, "-m", ON_ITS_OWN)


def _paths_of(selected: Iterable[Component]) -> list[str]:
    return [path for component in selected for path in component.tests]


def _prepare(selected: Iterable[Component]) -> None:
    """Compiled or installed beside tests, what they ask for would be in the way of those that measure."""
    for command in dict.fromkeys(command for component in selected for command in component.prepare):
        if subprocess.run([sys.executable, *command.split()], cwd=ROOT, check=False).returncode != 0:
            raise SystemExit(f"tests: failed: python {command}")


def _keep(selected: list[Component], finished: list[Finished], digests: dict[str, str], recorded: bool) -> None:
    """Notes the components that passed as a whole: a skipped test does not count as passed."""
    outcomes = [outcome for command in finished for outcome in command.outcomes]
    failed = {report.component_of(outcome, selected) for outcome in outcomes if outcome.outcome != "passed"}
    if any(command.mistake for command in finished):
        failed |= {component.name for component in selected}
    passed = {component.name: digests[component.name] for component in selected if component.name not in failed}
    record.note_passed(passed, failed)
    if recorded:
        nightly = {component.name for component in selected if component.nightly}
        record.write_recorded(outcomes, {name: digest for name, digest in passed.items() if name in nightly})


def _has_failed(finished: list[Finished]) -> bool:
    return any(command.mistake or any(test.outcome == "failed" for test in command.outcomes) for command in finished)


if __name__ == "__main__":
    sys.exit(main())
