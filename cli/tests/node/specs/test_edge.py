from __future__ import annotations

import re
from pathlib import Path

import pytest
from gatewright_cli.node.specs.edge import MIB, Edge, available, edge

UNLIMITED = str(2**63 - 4096)


def group(root: Path, path: str, limit: str, file: str = "memory.max") -> None:
    folder = root / path
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text(limit + "\n")


def memory(tmp_path: Path, cgroups: str) -> int:
    (tmp_path / "cgroup").write_text(cgroups)
    return available(tmp_path / "cgroup", tmp_path)


def test_the_least_limit_of_the_groups_above_counts(tmp_path: Path) -> None:
    group(tmp_path, "", "max")
    group(tmp_path, "pod", "1000000")
    group(tmp_path, "pod/container", "2000000")
    assert memory(tmp_path, "0::/pod/container\n") == 1_000_000
    group(tmp_path, "pod/container", "500000")
    assert memory(tmp_path, "0::/pod/container\n") == 500_000


def test_a_group_of_version_1_counts(tmp_path: Path) -> None:
    group(tmp_path, "memory/docker/x", "700000", "memory.limit_in_bytes")
    group(tmp_path, "memory", UNLIMITED, "memory.limit_in_bytes")
    assert memory(tmp_path, "5:cpu,cpuacct:/\n4:memory:/docker/x\n0::/\n") == 700_000


def test_in_a_container_that_sees_the_hosts_path_its_own_group_counts(tmp_path: Path) -> None:
    group(tmp_path, "memory", "800000", "memory.limit_in_bytes")
    assert memory(tmp_path, "4:memory:/docker/0123\n") == 800_000


def test_without_a_limit_it_is_the_machines(tmp_path: Path) -> None:
    group(tmp_path, "", "max")
    group(tmp_path, "memory", UNLIMITED, "memory.limit_in_bytes")
    machine = memory(tmp_path, "0::/\n4:memory:/\n")
    assert MIB < machine < 2**62
    assert available(tmp_path / "nothing", tmp_path) == machine


def test_bodies_get_an_eighth_of_little_memory() -> None:
    assert edge(memory=256 * MIB).bodies == 32 * MIB
    assert edge(memory=2**36).bodies == 128 * MIB
    assert edge(memory=2**36, bodies=2**30).bodies == 2**30


@pytest.mark.parametrize(
    ("bodies", "expected"),
    [(0, "at least 1 byte"), (400 * MIB, "at most a third of .*, 341MiB of 1024MiB, got 400MiB")],
)
def test_bodies_that_do_not_fit_are_a_mistake(bodies: int, expected: str) -> None:
    (mistake,) = Edge(memory=1024 * MIB, bodies=bodies).mistakes()
    assert re.search(expected, mistake)
    assert not list(Edge(memory=1024 * MIB, bodies=341 * MIB).mistakes())
