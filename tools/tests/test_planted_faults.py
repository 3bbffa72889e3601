"""tools/planted_faults.py: its list fits the code, and its verdicts on runs. The runs themselves are `make`'s."""

from __future__ import annotations

import re
import runpy
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
tool: Any = SimpleNamespace(**runpy.run_path(str(ROOT / "tools" / "planted_faults.py")))
FAULTS = tool.read_faults()
each_fault = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)


@each_fault
def test_each_fault_can_be_planted(fault: Any) -> None:
    assert tool.faulty_text(fault, ROOT) != (ROOT / fault.file).read_text()


@each_fault
def test_the_tests_of_a_fault_exist(fault: Any) -> None:
    command = tool.command_of(fault.tests, ROOT)
    for argument in command:
        file, _, function = argument.partition("::")
        if function:
            assert f"def {function}(" in (ROOT / file).read_text()
    if "-run" in fault.tests:
        text = "".join(file.read_text() for file in (ROOT / fault.tests[0]).glob("*_test.go"))
        pattern = fault.tests[fault.tests.index("-run") + 1]
        for name in pattern.split("|"):
            assert re.search(rf"^func Test\w*{name.removeprefix('Test')}", text, re.MULTILINE), name


def test_each_component_has_three_faults() -> None:
    assert min(Counter(fault.component for fault in FAULTS).values()) >= 3


def fault_in(file: Path, find: str) -> Any:
    return tool.Fault("one", "tools", file.name, "x is 2", find, "x = 2", ("tools/tests",))


def test_a_file_is_as_before_afterwards(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text("x = 1\ny = 1\n")
    before = file.stat().st_mtime_ns
    with tool.plant(fault_in(file, "x = 1"), tmp_path):
        assert file.read_text() == "x = 2\ny = 1\n"
    assert (file.read_text(), file.stat().st_mtime_ns) == ("x = 1\ny = 1\n", before)


@pytest.mark.parametrize(("find", "count"), [("= 1", 2), ("z = 1", 0)])
def test_a_passage_that_does_not_occur_once_is_refused(tmp_path: Path, find: str, count: int) -> None:
    file = tmp_path / "module.py"
    file.write_text("x = 1\ny = 1\n")
    with pytest.raises(tool.FaultListError, match=f"expected `find` once in module.py, got it {count} times"):
        tool.faulty_text(fault_in(file, find), tmp_path)


@pytest.mark.parametrize("tests", [("./tools",), ("test_of_nothing",), ("tools/tests/test_of_nothing.py",)])
def test_unknown_tests_are_refused(tests: tuple[str, ...]) -> None:
    with pytest.raises(tool.FaultListError, match=r"name (where|them)"):
        tool.command_of(tests, ROOT)


PYTEST = """ERROR    gatewright.log:log.py:7 a line that was logged: it is no test - at all
=== short test summary info ===
FAILED cli/tests/test_a.py::test_it[a b] - assert 1 == 2
"""
GO = "--- FAIL: TestOuter (0.02s)\n    --- FAIL: TestOuter/inner (0.01s)\nFAIL\nFAIL\tgatewright.dev/a\t0.03s\n"
GO_PANIC = "panic: runtime error\n\ngoroutine 7 [running]:\nFAIL\tgatewright.dev/a\t0.03s\nFAIL\n"
GO_BUILD = "# gatewright.dev/a\n./a.go:1:1: undefined: b\nFAIL\tgatewright.dev/a [build failed]\nFAIL\n"
NODE = "TAP version 13\nok 1 - one\nnot ok 2 - another\n"


@pytest.mark.parametrize(
    ("runner", "status", "output", "result"),
    [
        ("pytest", 0, "1 passed", tool.Result()),
        ("pytest", 1, PYTEST, tool.Result("cli/tests/test_a.py::test_it[a b]")),
        ("pytest", 1, "killed", tool.Result("pytest, which names no test")),
        ("pytest", 2, "ERROR cli/tests/test_a.py\n", tool.Result(problem="pytest ended with 2 before a test ran")),
        ("pytest", None, PYTEST, tool.Result(problem="no end within 900 s")),
        ("go", 1, GO, tool.Result("TestOuter")),
        ("go", 1, GO_PANIC, tool.Result("gatewright.dev/a")),
        ("go", 1, GO_BUILD, tool.Result(problem="go ended with 1 before a test ran")),
        ("node", 1, NODE, tool.Result("another")),
    ],
)
def test_only_a_test_that_fails_has_found_a_fault(runner: str, status: int | None, output: str, result: Any) -> None:
    assert tool.read_result(runner, status, output) == result
