from __future__ import annotations

import pytest

from bench import settings
from bench.rows import ROWS


def test_only_the_option_records() -> None:
    assert not settings.parse([]).record
    assert not settings.parse(["--compare", "HEAD"]).record
    assert settings.parse(["--record"]) == settings.Settings(record=True)
    assert settings.parse(["--record", "--compare", "HEAD", "--rows", "go,go-python-go"]).record


def test_the_default_run_has_all_rows() -> None:
    parsed = settings.parse([])
    assert parsed == settings.Settings()
    assert (parsed.rounds, parsed.duration, parsed.connections) == (5, 2.0, (1, 16, 64, 256))
    assert parsed.rows == ROWS


def test_short_checks_and_records_nothing() -> None:
    parsed = settings.parse(["--short"])
    assert (parsed.rounds, parsed.duration, parsed.short) == (3, 1.0, True)
    assert parsed.connections == (64,)
    assert [row.key for row in parsed.rows] == ["plain", "no-policies", "go", "go-python-go"]
    assert settings.parse(["--short", "--rounds", "2"]).rounds == 2


def test_rows_keep_the_order_of_the_table() -> None:
    parsed = settings.parse(["--rows", "go,plain", "--connections", "64,1"])
    assert [row.key for row in parsed.rows] == ["plain", "go"]
    assert parsed.connections == (64, 1)


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
        (["--record", "--short"], "--record: expected a run whose figures the page shows, got one with --short"),
        (
            ["--record", "--rows", "go", "--rate", "9"],
            "expected a run whose figures the page shows, got one with --rows, ",
        ),
    ],
)
def test_mistakes_are_reported(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        settings.parse(arguments)
    assert message in capsys.readouterr().err
