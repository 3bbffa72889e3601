from __future__ import annotations

from typing import Any

import pytest
from gatewright_cli.isolation.landlock import (
    BIND_TCP,
    CONNECT_TCP,
    LACKS,
    READ,
    READ_DIR,
    WRITE,
    WRITE_FILE,
    Rules,
    lacks,
    ruleset,
)

RULES = Rules(read=("/usr", "/usr"), write=("/tmp/one",), ports=(53,), names=("/",))  # noqa: S108 - a name


@pytest.mark.parametrize("abi", range(1, 9))
def test_no_rule_has_a_right_that_the_kernel_does_not_know(abi: int) -> None:
    """landlock_add_rule(2) refuses such a rule, and then nothing would start."""
    made: dict[str, Any] = ruleset(abi, RULES)
    files, net, scoped = made["handled"]
    assert all(rights and rights & ~files == 0 for _, rights in made["paths"])
    assert all(rights & ~net == 0 for _, rights in made["ports"])
    assert (net != 0, scoped != 0) == (abi >= 4, abi >= 6)
    assert files.bit_length() == {1: 13, 2: 14}.get(abi, 15 if abi < 5 else 16)


def test_each_path_has_the_rights_of_its_kind_once() -> None:
    found: dict[str, Any] = dict(ruleset(6, RULES)["paths"])  # type: ignore[call-overload]
    assert list(found) == ["/", "/usr", "/tmp/one"]  # noqa: S108
    assert (found["/"], found["/usr"] & WRITE_FILE, found["/tmp/one"] & WRITE_FILE) == (READ_DIR, 0, WRITE_FILE)  # noqa: S108
    assert READ & ~WRITE == 0


def test_all_ports_or_those_that_are_named() -> None:
    assert ruleset(6, Rules((), ()))["ports"] == []
    assert ruleset(6, Rules((), ()))["handled"][1] == BIND_TCP  # type: ignore[index]
    assert ruleset(6, Rules((), (), (53, 443)))["ports"] == [[53, CONNECT_TCP], [443, CONNECT_TCP]]
    assert ruleset(6, Rules((), (), ()))["handled"][1] == BIND_TCP | CONNECT_TCP  # type: ignore[index]
    assert ruleset(3, Rules((), (), (53,)))["ports"] == []


def test_features_that_a_kernel_lacks_are_named() -> None:
    assert lacks(max(LACKS)) == []
    assert len(lacks(1)) == len(LACKS)
