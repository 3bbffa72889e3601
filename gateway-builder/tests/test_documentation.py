"""The build.yaml that the documentation shows is a right one, and has each kind of source."""

from __future__ import annotations

import re
from pathlib import Path

from gatewright_builder.fetching.archive import LIMITS
from gatewright_builder.manifest import read_manifest
from gatewright_builder.origin import Kind
from gatewright_builder.sources import find_sources

PAGE = (find_sources().root / "docs" / "how-to" / "building.md").read_text()


def test_the_build_file_that_is_shown_is_right(tmp_path: Path) -> None:
    found = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert found
    (tmp_path / "build.yaml").write_text(found[1])
    manifest = read_manifest(tmp_path / "build.yaml")
    assert manifest.mistakes == ()
    assert {entry.kind for entry in manifest.entries} == set(Kind)


def test_the_limits_that_are_named_hold() -> None:
    mib = (limit >> 20 for limit in (LIMITS.packed, LIMITS.unpacked, LIMITS.folder))
    packed, unpacked, folder = mib
    sentence = f"({packed} MiB packed, {unpacked} MiB unpacked, {LIMITS.files:,} files, {folder} MiB for the policy)"
    assert sentence in PAGE
