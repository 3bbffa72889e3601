from __future__ import annotations

from pathlib import Path

import pytest

from bench import settings
from bench.rows import ROWS


def test_the_defaults_record() -> None:
    found = settings.parse([])
    assert found == settings.Settings()
    assert (found.rounds, found.duration, found.connections) == (5, 4.0, (1, 16, 64))
    assert (found.rows, found.output) == (ROWS, Path("bench/README.md"))


def test_short_checks_and_records_nothing() -> None:
    found = settings.parse(["--short"])
    assert (found.rounds, found.duration, found.output, found.short) == (1, 1.0, None, True)
    assert [row.key for row in found.rows] == ["plain", "no-policies", "go", "go-python-go"]
    assert settings.parse(["--short", "--rounds", "2", "--output", "x.md"]).output == Path("x.md")


def test_rows_keep_the_order_of_the_table() -> None:
    found = settings.parse(["--rows", "go,plain", "--connections", "64,1", "--output", "-"])
    assert [row.key for row in found.rows] == ["plain", "go"]
    assert found.connections == (64, 1)
    assert found.output is None


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
