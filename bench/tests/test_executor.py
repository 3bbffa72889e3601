import math

import pytest

from bench.error import BenchError
from bench.executor import command, goals, table
from bench.executor.campaign import IMPORT, START, Sample, by_case
from bench.goal import Goal
from bench.load_tool import Result


def load(case: str, server: str, round_: int, rate: int, cpu: float, failures: int = 0) -> Sample:
    result = Result(1.0, rate, failures, "refused", 0, 100, 200, 300, 400)
    return Sample(case, server, round_, result=result, cpu=cpu)


SAMPLES = [
    load("request-64", "V0", 0, 1000, 100.0),
    load("request-64", "V0", 1, 4000, 100.0),
    load("request-64", "ours", 0, 8000, 9.0),
    load("request-64", "ours", 1, 32000, 10.0),
    load("request-64", "ours", 2, 1, 500.0),
    Sample(IMPORT, "ours", 0, 0.1),
    Sample(START, "ours", 0, 0.3),
]


def find_goal(title: str) -> Goal:
    return next(goal for goal in goals.goals(by_case(SAMPLES)) if goal.title.startswith(title))


def test_ratios_are_of_one_round() -> None:
    assert (find_goal("64 in flight: executions/s × V0").value, find_goal("64 in flight: CPU × V0").value) == (8, 0.095)
    assert math.isnan(find_goal("1 in flight").value)


def test_a_goal_says_which_limit_it_meets() -> None:
    assert find_goal("64 in flight: executions/s × V0").verdict() == "must"
    assert find_goal("64 in flight: CPU × V0").verdict() == "aim"
    assert find_goal("start to serving").verdict() == "**missed**"
    assert find_goal("1 in flight").verdict() == "–"


def test_the_table_has_a_line_for_each_goal_and_each_case() -> None:
    lines = table.markdown(SAMPLES).splitlines()
    assert "| 64 in flight: executions/s × V0 | 8 | ≥ 6 | ≥ 9 | must |" in lines
    assert "| request-64 | V0 | 2,500 | 100 | 300 | 100 | 0 | |" in lines
    assert "| start | ours | | | | | | 0.3 |" in lines


def test_many_wrong_answers_fail_a_run() -> None:
    few, many = (load("heavy", "ours", 0, 1000, 1.0, failures) for failures in (10, 11))
    assert [*command.wrong_answers([few])] == []
    (message,) = command.wrong_answers([few, many])
    assert message == "heavy of ours: 11 wrong answers beside 1000 right ones, the first: refused"


def test_cases_are_chosen_by_prefix() -> None:
    assert {case.server.key for case in command.choose_cases("request-64/")} == {"V0", "V1", "ours"}
    with pytest.raises(BenchError, match="request-64/ours"):
        command.choose_cases("nothing")
