from __future__ import annotations

from pathlib import Path

import pytest

from bench import settings
from bench.rows import ROWS


def test_the_default_run_is_recorded() -> None:
    parsed = settings.parse([])
    assert parsed == settings.Settings()
    assert (parsed.rounds, parsed.duration, parsed.connections) == (5, 2.0, (1, 16, 64, 256))
    assert (parsed.rows, parsed.output) == (ROWS, Path("bench/README.md"))


def test_short_checks_and_records_nothing() -> None:
    parsed = settings.parse(["--short"])
    assert (parsed.rounds, parsed.duration, parsed.output, parsed.short) == (3, 1.0, None, True)
    assert parsed.connections == (64,)
    assert [row.key for row in parsed.rows] == ["plain", "no-policies", "go", "go-python-go"]
    assert settings.parse(["--short", "--rounds", "2", "--output", "x.md"]).output == Path("x.md")


def test_rows_keep_the_order_of_the_table() -> None:
    parsed = settings.parse(["--rows", "go,plain", "--connections", "64,1", "--output", "-"])
    assert [row.key for row in parsed.rows] == ["plain", "go"]
    assert parsed.connections == (64, 1)
    assert parsed.output is None


def test_not_all_rows_are_measured_with_all_numbers_of_connections() -> None:
    parsed = settings.parse([])
    at_256, at_64 = ({row.key for row in parsed.measured_at(count)} for count in (256, 64))
    large = {row.key for row in ROWS if row.key.startswith("body-1mb-")}
    assert large
    assert (
        {"plain", "go", "go-python-go", "naive", "ext-proc-aio"} <= at_256 < at_64 == {row.key for row in ROWS} - large
    )
    assert parsed.measured_at(8) == ROWS


def test_rows_named_are_measured_with_all_connections() -> None:
    parsed = settings.parse(["--rows", "plain,mitmproxy"])
    assert [row.key for row in parsed.measured_at(256)] == ["plain", "mitmproxy"]


@pytest.mark.parametrize(
    ("arguments", "message"),
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
def test_mistakes_are_reported(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        settings.parse(arguments)
    assert message in capsys.readouterr().err
