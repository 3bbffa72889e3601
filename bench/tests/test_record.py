"""Which files of the repository a run of the bench changes: none, unless the command line has --record."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bench import __main__ as command
from bench import environment, history, machine, plot, ratios, report, revision
from bench.rows import key_at_commit
from bench.sample import Sample
from bench.settings import BASE, README
from bench.tests.test_plot import RECORDED

FILES = (README, plot.FILE, ratios.FILE, history.FILE)
ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: it has the files of the repository that a run may write."""
    monkeypatch.setattr(revision, "resolve", lambda text: {"v1": "0123456789ab", BASE: "ba5e56789abc"}[text])
    for name in ("REQUIREMENTS", "ENVIRONMENTS"):
        monkeypatch.setattr(environment, name, ROOT / getattr(environment, name))
    for file in FILES:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, samples: Sequence[Sample], *arguments: str) -> set[Path]:
    """Runs the command on these samples. Returns the files that it wrote, created or deleted."""
    monkeypatch.setattr(command, "take_samples", lambda _: list(samples))
    monkeypatch.setattr(machine, "describe", lambda *_: "the machine")  # it asks a program for each of its versions
    monkeypatch.setattr(machine, "commit", lambda: "abcdef012345")
    monkeypatch.setattr(sys, "argv", ["bench", *arguments])
    before = contents()
    command.main()
    after = contents()
    return {file for file in before.keys() | after.keys() if before.get(file) != after.get(file)}


def contents() -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in Path().rglob("*") if file.is_file()}


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize("arguments", [[], ["--connections", "64"], ["--compare", "v1"], ["--rows", "plain,go"]])
def test_a_run_changes_no_file(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, RECORDED, *arguments) == set()


@pytest.mark.usefixtures("tree")
def test_a_recorded_run_writes_the_page_with_its_plot_and_the_ratios(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, RECORDED, "--record") == {README, plot.FILE, ratios.FILE}
    assert "| plain Envoy | 1,001 (1,000–1,002) |" in README.read_text()


@pytest.mark.usefixtures("tree")
def test_a_recorded_comparison_adds_a_line_to_the_history_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    at_base = [replace(sample, row=key_at_commit(sample.row, "ba5e56789abc")) for sample in RECORDED]
    assert run(monkeypatch, [*RECORDED, *at_base], "--compare", "v1", "--record") == {history.FILE}
    assert "| abcdef012345 | 1.00 (1.00–1.00) |" in history.FILE.read_text().splitlines()[-1]


@pytest.mark.usefixtures("tree")
def test_a_recorded_run_of_both_modes_writes_its_own_section(monkeypatch: pytest.MonkeyPatch) -> None:
    before = README.read_text()
    assert run(monkeypatch, RECORDED, "--in-envoy", "--record") == {README}
    begin, end = report.IN_ENVOY_BEGIN, report.IN_ENVOY_END
    assert "| Go → Go: req/s × ext_proc | – | ≥ 1.8 | – |" in README.read_text().partition(begin)[2].partition(end)[0]
    assert README.read_text().partition(begin)[0] == before.partition(begin)[0]


@pytest.mark.usefixtures("tree")
def test_a_comparison_that_says_too_little_is_not_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="--record: expected --compare with at least 5 rounds"):
        run(monkeypatch, RECORDED, "--compare", "v1", "--record", "--rounds", "1")
    assert capsys.readouterr().out == ""
