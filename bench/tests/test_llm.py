"""`python -m bench llm`: the command line, the turns, the tables and the goals."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bench import report
from bench.error import BenchError
from bench.llm.command import parse
from bench.llm.measure import Held, LlmSample, Plan, Times, parse_times, turns
from bench.llm.rows import ADDRESS, BEFORE, DIRECT, GATEWRIGHT, KEYS, LITELLM, UNFILTERED, question
from bench.llm.table import goals, markdown
from bench.load_tool import Result
from bench.peers.litellm_proxy import configuration
from bench.settings import README
from bench.target import ENVOY, GO, PYTHON

TOKENS = {DIRECT: (1000, 2000), GATEWRIGHT: (2000, 5000), LITELLM: (21_000, 32_000)}
COSTS = {DIRECT: {}, GATEWRIGHT: {ENVOY: 0.1, GO: 0.2, PYTHON: 0.3}, LITELLM: {PYTHON: 3.0}}


COSTS[UNFILTERED], TOKENS[UNFILTERED] = COSTS[LITELLM], TOKENS[LITELLM]


def result(p50: int = 0, p99: int = 0) -> Result:
    return Result(10.0, 100, 0, "", 0, p50, p99, p99, p99)


def times(key: str) -> Times:
    return Times(result(*TOKENS[key]), result(*TOKENS[key]), result(), result())


SAMPLES = [LlmSample(key, number, times(key), COSTS[key], 100.0) for number in range(2) for key in KEYS]


def test_goals_compare_what_is_added_with_what_litellm_adds() -> None:
    values = [goal.value for goal in goals(SAMPLES)]
    assert values == pytest.approx([0.05, 0.1, 0.05, 0.1, 0.2])
    assert [goal.verdict() for goal in goals(SAMPLES)] == [*["must"] * 4, "**missed**"]


def test_the_tables_have_a_line_for_each_row() -> None:
    held = [Held(key, times(key), {PYTHON: 4096.0, GO: 1024.0}, 0.5) for key in KEYS]
    text = "\n".join(markdown(SAMPLES, held, Plan()))
    assert "| Gatewright: usage, budget, guard, mask | 2.0 (2.0–2.0) | 5.0 (5.0–5.0) | 2.0 (2.0–2.0) |" in text
    assert "| 1.00 | 2.00 | 3.00 | 6.00 |" in text
    assert "| 100 | 2.0 | 5.0 | 0.0 | 0.0 | 0.50 | 0.0 | 1.0 | 4.0 | 5.0 |" in text
    tables = [line.count("|") for line in text.splitlines() if line.startswith("|")]
    assert set(tables[:7]) == {6}
    assert set(tables[7:13]) == {15}
    assert set(tables[13:]) == {12}


def test_a_disturbed_row_is_named() -> None:
    disturbed = [LlmSample(GATEWRIGHT, 2, times(GATEWRIGHT), {}, 100.0, foreign=0.5)]
    others = [LlmSample(key, 2, times(key), {}, 100.0) for key in KEYS if key != GATEWRIGHT]
    text = "\n".join(markdown([*SAMPLES, *disturbed, *others], [], Plan()))
    assert "mask: in 1 of 3 rounds other processes took up to 50 % of a core" in text


def test_wrong_answers_of_a_peer_are_stated() -> None:
    whole = Result(10.0, 99, 1, "receive: unexpected EOF", 0, 1, 1, 1, 1)
    wrong = [replace(sample, times=replace(sample.times, whole=whole)) for sample in SAMPLES if sample.row == LITELLM]
    text = "\n".join(markdown([sample for sample in SAMPLES if sample.row != LITELLM] + wrong, [], Plan()))
    assert "content filter: 2 answers were wrong beside 198 right ones: receive: unexpected EOF" in text


def test_rounds_go_forwards_and_backwards() -> None:
    assert [*turns(("a", "b"), 2)] == [(0, "b"), (0, "a"), (1, "a"), (1, "b")]


def test_the_question_has_the_address_that_the_answer_repeats() -> None:
    document = json.loads(question(7))
    assert f"{BEFORE}{ADDRESS} " in document["messages"][-1]["content"]
    assert (document["max_tokens"], document["stream"]) == (7, True)


def test_the_proxy_asks_the_provider_at_its_own_path() -> None:
    (model,) = configuration("127.0.0.1:7/litellm", filters=True)["model_list"]
    assert model["litellm_params"]["api_base"] == "http://127.0.0.1:7/litellm/v1"


def test_the_page_has_a_section_for_the_figures() -> None:
    text = report.replace_section(README.read_text(), "| figures |", report.LLM_BEGIN, report.LLM_END)
    assert "## A language model" in text.partition("| figures |")[0]


def test_other_output_is_an_error() -> None:
    with pytest.raises(BenchError, match="expected its result as JSON, got"):
        parse_times("{}")


def test_only_a_run_with_the_default_options_is_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse(["--record"]) == (Plan(), True)
    assert parse(["--rounds", "1", "--held", "10"])[0].held == 10
    with pytest.raises(SystemExit):
        parse(["--record", "--held", "10"])
    assert "--record: expected a run with the default options, got one with held" in capsys.readouterr().err
