from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from bench import history, revision
from bench.settings import BASE, Settings, parse
from bench.tests.samples import sample


@pytest.fixture(autouse=True)
def base(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revision, "resolve", lambda text: {"v1": "0123456789ab", BASE: "ba5e56789abc"}[text])


def test_a_line_has_the_ratios_to_the_base_alone() -> None:
    samples = [
        sample("go", 0, 1200, connections=64, Envoy=60, Go=20),
        sample("0123456-go", 0, 1, connections=64, Envoy=1, Go=1),
        sample("ba5e567-go", 0, 1000, connections=64, Envoy=80, Go=40),
    ]
    assert history.line(samples, "abcdef012345", date(2026, 12, 1)) == (
        "| 2026-12-01 | abcdef012345 | 0.67 (0.67–0.67) | 1.20 (1.20–1.20) | 0.50 (0.50–0.50) | – | – | – | – | 0% |"
    )


def test_the_table_has_a_column_for_each_figure() -> None:
    head, rule, *lines = history.FILE.read_text().partition("| date")[2].splitlines()
    assert {head.count("|") + 1, rule.count("|")} == {len(history.KEPT) + 4}
    assert all(line.count("|") == len(history.KEPT) + 4 for line in lines)


@pytest.mark.parametrize(
    ("arguments", "is_kept"),
    [
        (["--compare", "v1"], True),
        ([], False),
        (["--compare", "v1", "--rounds", "4"], False),
        (["--compare", "v1", "--rows", "go"], False),
        (["--compare", "v1", "--connections", "16"], False),
        (["--compare", "v1", "--rate", "100"], False),
    ],
)
def test_a_run_that_says_enough_is_kept(arguments: list[str], is_kept: bool) -> None:
    settings: Settings = parse(arguments)
    assert history.is_kept(settings, "abcdef012345") is is_kept
    assert not history.is_kept(settings, "abcdef012345 with changes")


def test_a_row_is_added_at_the_end(tmp_path: Path) -> None:
    (file := tmp_path / "history.md").write_text("| a |\n")
    history.append("| b |", file)
    assert file.read_text() == "| a |\n| b |\n"
