from __future__ import annotations

import math

import pytest

from bench import table
from bench.rows import ROWS
from bench.settings import Settings
from bench.summary import Spread
from bench.tests.samples import sample


def cells(markdown: str) -> dict[str, list[str]]:
    """Row title → its cells."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in markdown.splitlines() if line[:1] == "|"]
    assert {len(line) for line in lines} == {len(table.HEADINGS)}
    return {line[0]: line[1:] for line in lines[2:]}


def test_figures_stand_under_their_headings() -> None:
    settings = Settings(connections=(16,), rows=ROWS[:1] + ROWS[2:3])
    samples = [
        sample("plain", 0, 1000, Envoy=40, upstream=9, load=8),
        sample("go", 0, 250, p50=150, Envoy=60, Go=20, upstream=9.5, load=8),
        sample("plain", 1, 1200, Envoy=40, upstream=9, load=8),
        sample("go", 1, 600, p50=150, Envoy=60, Go=20, upstream=9.5, load=8),
    ]
    figures = dict(zip(table.HEADINGS[1:4], cells(table.markdown(samples, settings))["gateway, Go → Go"], strict=False))
    assert figures == {"req/s": "425 (250–600)", "× plain": "0.38", "× Go": "1.00"}
    assert cells(table.markdown(samples, settings))["gateway, Go → Go"][3:] == [
        "150", "1.50", "450", "60.0", "20.0", "0", "0", "80.0", "2.00", "9.5", "8.0",
    ]  # fmt: skip


def test_a_row_without_plain_envoy_to_compare_has_dashes() -> None:
    rows = cells(table.markdown([sample("go")], Settings(connections=(16,), rows=ROWS[2:3])))
    assert [rows["gateway, Go → Go"][i] for i in (1, 2, 4, 11)] == ["–", "1.00", "–", "–"]


def test_each_number_of_connections_has_a_table() -> None:
    samples = [sample(connections=1), sample(connections=64)]
    markdown = table.markdown(samples, Settings(connections=(1, 64), rows=ROWS[:1]))
    assert [line for line in markdown.splitlines() if line.startswith("###")] == [
        "### 1 connection",
        "### 64 connections",
    ]


def test_disturbances_and_failures_have_notes() -> None:
    samples = [sample(foreign=0.25), sample(round_=1, failures=3), sample(round_=2, unsent=7)]
    markdown = table.markdown(samples, Settings(connections=(16,), rows=ROWS[:1]))
    assert "| plain Envoy \\* |" in markdown
    assert "in 1 of 3 rounds other processes took up to 25 % of a core, more than 8 %" in markdown
    assert "**3 wrong answers**, the first: expected status 200, got 418" in markdown
    assert "7 requests were due and could not be sent" in markdown


def test_event_streams_have_a_note_on_the_cost_of_an_event() -> None:
    settings = Settings(connections=(64,), rows=tuple(row for row in ROWS if row.key == "events-python"))
    samples = [
        sample("events-python", number, connections=64, Envoy=cpu) for number, cpu in enumerate((900, 1000, 1200))
    ]
    note = "- gateway, Python policy that streams, 20 events: 50.0 (45.0–60.0) µs of CPU for each event"
    assert note in table.markdown(samples, settings)


def test_a_clean_run_has_no_notes() -> None:
    assert "\n- " not in table.markdown([sample()], Settings(connections=(16,), rows=ROWS[:1]))


@pytest.mark.parametrize(
    ("spread", "text"),
    [
        (Spread(35886.4, 35101, 36204), "35,886 (35,101–36,204)"),
        (Spread(7.25, 7.25, 7.25), "7.2"),
        (Spread(0, 0, 0), "0"),
        (Spread(math.nan, math.nan, math.nan), "–"),
    ],
)
def test_a_range_stands_beside_its_median(spread: Spread, text: str) -> None:
    assert table.with_range(spread) == text
