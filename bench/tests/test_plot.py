from __future__ import annotations

from itertools import chain
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import machine, plot
from bench.__main__ import render
from bench.rows import ROWS
from bench.settings import README, parse
from bench.tests.samples import sample

RECORDED = [
    sample(row.key, round_, 1000.0 * number + round_, connections=64, Envoy=50.0 + number, Go=10.0 + round_)
    for number, row in enumerate(ROWS, 1)
    for round_ in range(3)
]


@pytest.fixture(scope="module")
def plot_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plot of RECORDED."""
    file = tmp_path_factory.mktemp("recorded") / "bench.svg"
    plot.write(RECORDED, ROWS, file)
    return file


def texts_of(file: Path) -> list[str]:
    root = ElementTree.parse(file).getroot()  # noqa: S314 - written by this test
    return ["".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")]


def test_each_row_is_drawn_with_its_figures(plot_file: Path) -> None:
    texts = texts_of(plot_file)
    expected = [(number, row.title) for number, row in enumerate(ROWS, 1) if not row.events]
    assert [text for text in texts if text in {row.title for row in ROWS}] == [title for _, title in expected]
    medians = chain.from_iterable((f"{1000 * number + 1:,}", f"{61 + number}") for number, _ in expected)
    assert set(medians) <= set(texts)


def test_rows_without_samples_are_not_drawn(tmp_path: Path) -> None:
    other = sample("go", connections=16)
    plot.write([*RECORDED[:3], other], ROWS, tmp_path / "bench.svg")
    texts = texts_of(tmp_path / "bench.svg")
    assert [text for text in texts if text in {row.title for row in ROWS}] == ["plain Envoy"]


def test_the_same_figures_are_the_same_bytes_on_any_background(plot_file: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.svg"
    plot.write(RECORDED, ROWS, again)
    assert again.read_bytes() == plot_file.read_bytes()
    assert "#ffffff" not in again.read_text()


def test_only_a_recorded_run_draws_the_plot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "describe", lambda *_: "the machine")  # it asks a program for each of its versions
    for arguments, is_shown in ((["--record"], True), ([], False), (["--connections", "64"], False)):
        assert (plot.SHOWN in list(render(RECORDED, parse(arguments)))) is is_shown
    assert plot.FILE.parent == README.parent
