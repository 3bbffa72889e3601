from __future__ import annotations

from pathlib import Path

import pytest

from bench import load_tool
from bench.error import BenchError
from bench.rows import ROWS

LINE = '{"seconds":2,"count":30,"failures":1,"firstFailure":"x","unsent":0,"p50":1,"p90":2,"p99":3,"max":4}'


def test_a_result_is_parsed() -> None:
    assert load_tool.parse_result(LINE) == load_tool.Result(2, 30, 1, "x", 0, 1, 2, 3, 4)
    assert load_tool.parse_result(LINE.replace('"firstFailure":"x",', "")).first_failure == ""


@pytest.mark.parametrize("line", ["", "[]", "{}", "killed"])
def test_a_malformed_result_is_refused(line: str) -> None:
    with pytest.raises(BenchError, match="expected its result as JSON"):
        load_tool.parse_result(line)


def test_the_generators_command_names_required_headers() -> None:
    load = load_tool.load_of(ROWS[3], 8080, connections=16, warmup=0.5, duration=4.0, rate=0.0)
    words = load_tool.generate_command(Path("load"), load)
    assert words[words.index("-url") + 1] == "http://127.0.0.1:8080/go-python-go/orders/4711"
    expected = [words[i + 1] for i, word in enumerate(words) if word == "-expect"]
    assert expected == ["X-Go-First: 1", "X-Go-Last: 1", "X-Python-Policy: 1"]
