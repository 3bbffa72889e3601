"""The judge of the fault suite: it must be able to say no."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e.faults.contract import Contract, Fault, Verdict, judge
from e2e.faults.figure import Figure
from e2e.faults.table import Line, table
from e2e.kit.answers import Answer, read_answers

FAULT = Fault(begin=100.0, end=101.0)
KILL = Contract(recovery=2.0, meanwhile={"python": frozenset({"503"})})


def answer(due: float, status: int = 503, flow: str = "python", took: float = 0.01, problem: str = "") -> Answer:
    return Answer(flow, due, took, status, "1" if status == 503 else "", problem)


def verdict(*answers: Answer, contract: Contract = KILL) -> Verdict:
    return judge(answers, FAULT, contract)


@pytest.mark.parametrize(
    ("answered", "allowed"),
    [
        (answer(99.0), False),  # before there was a fault
        (answer(99.99, took=0.02), True),  # under way when it began
        (answer(100.5), True),
        (answer(103.0), True),  # within the time for recovery
        (answer(103.1), False),  # and after it
        (answer(100.5, status=500), False),  # another error than the specified one
        (answer(100.5, flow="go"), False),  # a flow that it may not affect
        (answer(100.5, problem="bare: text/plain"), False),  # not what the gateway promises of an error
        (answer(100.5, status=0, problem="broken"), False),
        (answer(103.1, status=200), True),
    ],
)
def test_an_answer_is_allowed_by_its_flow_outcome_and_time(answered: Answer, allowed: bool) -> None:
    assert (not verdict(answered).failed) is allowed


def test_a_503_without_retry_after_fails() -> None:
    assert verdict(Answer("python", 100.5, 0.01, 503, "", "")).failed


def test_flows_of_the_fault_have_their_own_outcomes_at_any_time() -> None:
    contract = Contract(always={"faulty": frozenset({"504"})})
    late, served = answer(500.0, 504, "faulty"), answer(100.5, 200, "faulty")
    assert verdict(late, served, contract=contract).failed == [served]


def test_a_gateway_that_stopped_does_not_come_back() -> None:
    contract = Contract(recovery=0.0, afterwards={"go": frozenset({"refused"})})
    late = answer(500.0, 0, "go", problem="refused")
    judgement = verdict(late, answer(99.0, 0, "go", problem="refused"), contract=contract)
    assert [failure.due for failure in judgement.failed] == [99.0]


def test_recovery_is_from_the_faults_end_to_the_last_victim() -> None:
    assert verdict(answer(101.5), answer(101.75), answer(102.0, 200)).recovery == 0.75
    assert verdict(answer(100.5)).recovery == 0.0
    assert verdict(answer(100.5, 200)).recovery is None


def test_a_flow_without_an_answer_proves_nothing() -> None:
    judgement = judge([answer(100.5, 200)], FAULT, KILL, flows=("python", "go"))
    assert not judgement.kept
    assert "go" in judgement.violations[0]


def test_a_violation_breaks_the_contract_without_a_failed_answer() -> None:
    assert not judge([answer(100.5, 200)], FAULT, KILL, ["the executor did not live on"]).kept


def test_the_table_accounts_for_every_request_and_says_why_a_row_failed() -> None:
    judgement = verdict(answer(100.5), answer(100.6, 500, problem="bare: text/html"), answer(100.7, 200))
    others = [Line("another", skipped="skipped: no root"), Line("third", crashed="KeyError")]
    text = table([Line("a fault", judgement), *others])
    assert "| a fault | 3 | 2 | 1 |" in text
    assert "✗ a fault: python: 500 bare ×1" in text
    assert "skipped: no root" in text
    assert "✗ third: KeyError" in text


def test_a_figure_beyond_its_limit_breaks_a_row() -> None:
    good, bad = Figure("p99", 1.2, 1.3), Figure("p99", 1.4, 1.3)
    assert Line("a", figures=[good]).kept
    assert not Line("a", figures=[good, bad]).kept
    assert "✗ a: p99 1.4 (at most 1.3)" in table([Line("a", figures=[good, bad])])


def test_a_line_that_is_still_being_written_is_left_for_the_next_reading(tmp_path: Path) -> None:
    lines = tmp_path / "lines"
    lines.write_text("go\t1.0\t0.5\t200\t\t\ngo\t2.0\t0.5\t503\t1\tbare: x\ngo\t3.0\t0.")
    assert [exchange.outcome for exchange in read_answers(lines)] == ["200", "503 bare"]
