"""What differs where the policy engine runs inside Envoy: said by the tests that differ, and shown on a page.

A test marked with `differs_in_envoy` fails with `--engine in-envoy`, and holds otherwise: where it does not fail in
that mode, the run of the tests fails. So each run holds the page's table, which is made of the markers.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from e2e.kit.places import ROOT

MARKER = "differs_in_envoy"
PAGE = ROOT / "docs" / "reference" / "in-envoy.md"
HEAD = "| inside Envoy | the tests that say so |\n| --- | --- |\n"


def differs_in_envoy(difference: str) -> pytest.MarkDecorator:
    """Marks a test, or a parameter of one, that does not hold inside Envoy. difference: a sentence for operators."""
    return pytest.mark.differs_in_envoy(difference)


def expect_differences(items: Iterable[pytest.Item]) -> None:
    """Has the marked tests fail, in a run with the engine inside Envoy."""
    for item in items:
        if marker := item.get_closest_marker(MARKER):
            item.add_marker(pytest.mark.xfail(reason=marker.args[0], strict=True))


def table() -> str:
    """The differences, each with the tests that say so."""
    tests: defaultdict[str, list[str]] = defaultdict(list)
    for file in sorted((ROOT / "e2e").rglob("test_*.py")):
        for test, difference in _differences(ast.parse(file.read_text("utf-8"))):
            tests[difference].append(f"`{file.relative_to(ROOT)}` `{test}`")
    return HEAD + "".join(f"| {difference} | {', '.join(tests[difference])} |\n" for difference in sorted(tests))


def _differences(module: ast.Module) -> Iterator[tuple[str, str]]:
    """Each test that differs, and its difference; a constant of the module may stand for the sentence."""
    constants = {
        target.id: node.value
        for node in module.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for test in module.body:
        if isinstance(test, ast.FunctionDef):
            for decorator in test.decorator_list:
                for call in ast.walk(decorator):
                    if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == MARKER:
                        argument = call.args[0]
                        sentence = constants.get(argument.id, argument) if isinstance(argument, ast.Name) else argument
                        yield test.name, ast.literal_eval(sentence)


def with_table(page: str) -> str:
    """The page with the table in the place of the one that it has."""
    before, head, rest = page.partition(HEAD)
    assert head, f"{PAGE}: expected the head of the table of differences, got none"
    lines = rest.splitlines(keepends=True)
    while lines and lines[0].startswith("|"):
        del lines[0]
    return before + table() + "".join(lines)


def read(page: Path = PAGE) -> str:
    return page.read_text("utf-8")
