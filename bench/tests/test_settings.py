from __future__ import annotations

from pathlib import Path

import pytest

from bench import settings
from bench.rows import ROWS


def test_the_defaults_record() -> None:
    found = settings.parse([])
    assert found == settings.Settings()
    assert (found.rounds, found.duration, found.connections) == (5, 2.0, (1, 16, 64, 256))
    assert (found.rows, found.output) == (ROWS, Path("bench/README.md"))


def test_short_checks_and_records_nothing() -> None:
    found = settings.parse(["--short"])
    assert (found.rounds, found.duration, found.output, found.short) == (3, 1.0, None, True)
    assert found.connections == (64,)
    assert [row.key for row in found.rows] == ["plain", "no-policies", "go", "go-python-go"]
    assert settings.parse(["--short", "--rounds", "2", "--output", "x.md"]).output == Path("x.md")


def test_rows_keep_the_order_of_the_table() -> None:
    found = settings.parse(["--rows", "go,plain", "--connections", "64,1", "--output", "-"])
    assert [row.key for row in found.rows] == ["plain", "go"]
    assert found.connections == (64, 1)
    assert found.output is None


def test_not_all_rows_are_measured_with_all_numbers_of_connections() -> None:
    found = settings.parse([])
    few, most = ({row.key for row in found.measured_at(count)} for count in (256, 64))
    large = {row.key for row in ROWS if row.key.startswith("body-1mb-")}
    assert large
    assert {"plain", "go", "go-python-go", "naive", "ext-proc-aio"} <= few < most == {row.key for row in ROWS} - large
    assert found.measured_at(8) == ROWS


def test_rows_that_are_named_are() -> None:
    found = settings.parse(["--rows", "plain,mitmproxy"])
    assert [row.key for row in found.measured_at(256)] == ["plain", "mitmproxy"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--rows", "plain,python"],
            "expected some of plain, no-policies, go, go-python-go, ",
        ),
        (["--connections", "1,0"], "expected a whole number ≥ 1, got '0'"),
        (["--duration", "nan"], "expected a number > 0, got 'nan'"),
        (["--rounds", "-1"], "expected a whole number ≥ 1, got '-1'"),
    ],
)
def test_mistakes_are_said(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        settings.parse(arguments)
    assert sentence in capsys.readouterr().err
