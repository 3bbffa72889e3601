from __future__ import annotations

from pathlib import Path

import pytest
from gatewright_builder.fetching import location
from gatewright_builder.fetching.location import locate
from gatewright_builder.manifest import read_manifest
from gatewright_builder.origin import Kind
from gatewright_builder.sources import STOCK_POLICIES, Sources, find_sources


def build_file(folder: Path, *names: str) -> Path:
    path = folder / "build.yaml"
    path.write_text("version: v1\npolicies:\n" + "".join(f"  - {{name: {name}}}\n" for name in names))
    return path


def test_a_policy_that_ships_needs_no_more_than_its_name(tmp_path: Path) -> None:
    located = locate(read_manifest(build_file(tmp_path, *STOCK_POLICIES)))
    assert located.mistakes == ()
    found = [(origin.kind, origin.resolved, origin.folder) for _, origin in located.origins]
    shipped = find_sources().root / "policies"
    assert found == [(Kind.SHIPPED, f"shipped {name}", shipped / name) for name in STOCK_POLICIES]


def test_an_installation_that_lacks_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(location, "find_sources", lambda: Sources(tmp_path))
    (mistake,) = locate(read_manifest(build_file(tmp_path, "log-message"))).mistakes
    assert str(mistake) == (
        "build.yaml:3: expected log-message in this installation, got none; install it again, "
        "or name the policy's sources"
    )
