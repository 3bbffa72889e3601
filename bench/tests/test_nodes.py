from __future__ import annotations

import io
import json
from pathlib import Path
from subprocess import Popen
from typing import cast

import pytest

from bench.error import BenchError
from bench.nodes import simulation
from bench.nodes.campaign import Change, Changes, Cost, Figures, Page
from bench.nodes.simulation import Simulation
from bench.nodes.table import markdown, spread
from bench.scale.node import Memory


def simulated(tmp_path: Path, *lines: tuple[str, float, int, str], count: int = 2) -> Simulation:
    """Nodes of which so many lines have come: node, time, revision, state."""
    texts = [
        json.dumps({"node": node, "at": at, "revision": revision, "apis": 1, "state": state, "changed": 1}) + "\n"
        for node, at, revision, state in lines
    ]
    (tmp_path / "log").touch()

    class Process:
        pid, stdout = 1, io.StringIO("".join(texts))

    return Simulation(cast("Popen[str]", Process()), count, tmp_path / "log")


def test_a_change_is_there_when_each_node_has_it_first(tmp_path: Path) -> None:
    nodes = simulated(
        tmp_path, ("a", 1.0, 7, "x"), ("b", 1.5, 7, "x"), ("b", 2.0, 8, "y"), ("a", 2.5, 8, "y"), ("a", 9.0, 9, "y")
    )
    assert nodes.await_all(lambda line: line.revision > 7) == [2.0, 2.5]
    assert nodes.await_all(lambda line: line.revision == 9 or line.node == "b") == [1.5, 9.0]
    assert nodes.revision == 9
    nodes.forget()
    assert nodes.await_all(lambda line: line.revision == 9 or line.node == "b") == [2.0, 9.0]


@pytest.mark.parametrize(
    "lines",
    [[("a", 1.0, 8, "x")], [("a", 1.0, 8, "x"), ("b", 1.0, 8, "y")], [("a", 1.0, 8, "x"), ("b", 1.0, 7, "x")]],
    ids=["a-node-is-missing", "another-state", "an-old-revision"],
)
def test_nodes_without_the_change_end_the_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: list[tuple[str, float, int, str]]
) -> None:
    monkeypatch.setattr(simulation, "LONGEST", 0.1)
    nodes = simulated(tmp_path, *lines)
    with pytest.raises(BenchError, match="expected all 2 nodes to have a change"):
        nodes.await_all(lambda line: line.revision > 7)


def test_a_spread_is_the_median_the_95th_and_the_most() -> None:
    assert spread([number / 1000 for number in range(100)]) == "50 / 95 / 99"
    assert spread([0.5]) == "500 / 500 / 500"


def test_a_table_has_a_column_for_each_number_of_apis() -> None:
    cost = Cost(2.0, 1.5, Memory(100.0, 120.0))
    changes = Changes([Change(0.2, -0.15, -0.05), Change(0.1, 0.01, 0.03)], 0.1)
    pages = {"GET /v1/nodes": Page(0.25, 10_000_000)}
    figures = [Figures(apis, cost, changes, changes, [0.3, 0.4], pages, 1.5, 0.002, cost, cost) for apis in (10, 1000)]
    lines = list(markdown(figures, 100, 2))
    assert {line.count("|") for line in lines} == {4}
    text = "\n".join(lines)
    assert "| 100 simulated nodes, 2 whole ones | 10 APIs | 1,000 APIs |" in text
    assert "until the last node has it: ms, p50 / p95 / most, wanted ≤ 2,000 | 30 / 30 / 30 |" in text
    assert "request until the last node has it | 150 / 150 / 150 |" in text
    assert "| · CPU of the controller, ms each | 50 |" in text
    assert "| `GET /v1/nodes`: ms, KB | 250, 10,000 |" in text
