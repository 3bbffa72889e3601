"""The conditions of a release, and the files that are made of the checkout alone."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import release  # noqa: E402
from product_version import PLACES, write_version  # noqa: E402

CHANGELOG = """\
# Changelog

<!-- newest release first -->

## 1.2.0 (2027-01-02)

### Added

- Something.

## 1.1.0 (2026-12-01)

### Fixed

- Another thing.
"""


@pytest.fixture
def checkout(tmp_path: Path) -> release.Checkout:
    """A repository of which version 1.2.0 is to be released."""
    root = tmp_path / "checkout"
    for place in PLACES:
        (root / place.file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / place.file, root / place.file)
    write_version("1.2.0", root)
    (root / "CHANGELOG.md").write_text(CHANGELOG)
    (root / "changes").mkdir()
    (root / "changes" / "README.md").write_text("Changes\n")
    git(root, "init", "--quiet")
    commit(root)
    return release.Checkout(root)


def git(root: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(("git", "-C", str(root), *identity, *arguments), check=True, capture_output=True)


def commit(root: Path) -> None:
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--allow-empty", "--message", "a change")


def test_a_complete_checkout_has_no_obstacle(checkout: release.Checkout) -> None:
    assert list(checkout.obstacles()) == []
    git(checkout.root, "tag", "v1.2.0")
    assert list(checkout.obstacles()) == [], "the very commit that is tagged may be made again"


def not_committed(root: Path) -> None:
    (root / "new").write_text("")


def not_folded(root: Path) -> None:
    (root / "changes" / "thing.added.md").write_text("A thing.\n")
    commit(root)


def another_section(root: Path) -> None:
    (root / "CHANGELOG.md").write_text(CHANGELOG.replace("1.2.0", "1.3.0"))
    commit(root)


def another_version(root: Path) -> None:
    PLACES[1].write(root, "1.1.0")
    commit(root)


def released_before(root: Path) -> None:
    git(root, "tag", "v1.2.0")
    commit(root)


@pytest.mark.parametrize(
    ("change", "obstacle"),
    [
        (not_committed, "expected all to be committed, got 1 changes, such as '?? new': commit them"),
        (
            not_folded,
            "expected changes/ to be folded, got 1 files, such as thing.added.md: make changelog VERSION=1.2.0",
        ),
        (
            another_section,
            "expected CHANGELOG.md to begin with version 1.2.0, got 1.3.0: make changelog VERSION=1.2.0",
        ),
        (
            another_version,
            "expected version 1.2.0, as the SDK has it, got gateway-runtime/policy-engine/engine/engine.go: 1.1.0: "
            "make version VERSION=1.2.0",
        ),
        (
            released_before,
            "expected a version that is not released yet, got 1.2.0, which another commit is tagged with",
        ),
    ],
)
def test_obstacles_are_named_with_their_cure(
    checkout: release.Checkout, change: Callable[[Path], None], obstacle: str
) -> None:
    change(checkout.root)
    assert list(checkout.obstacles()) == [obstacle]


def test_notes_are_the_section_of_the_version() -> None:
    assert release.notes_of(CHANGELOG, "1.2.0") == "### Added\n\n- Something.\n"
    assert release.notes_of(CHANGELOG, "1.1.0") == "### Fixed\n\n- Another thing.\n"
    with pytest.raises(SystemExit, match=r"expected a section of version 1\.0\.0"):
        release.notes_of(CHANGELOG, "1.0.0")


def test_sources_are_the_committed_files_and_reproducible(checkout: release.Checkout, tmp_path: Path) -> None:
    (checkout.root / "not-committed").write_text("")
    first, second = tmp_path / "first.tar.gz", tmp_path / "second.tar.gz"
    release.write_sources(checkout, "1.2.0", first)
    release.write_sources(checkout, "1.2.0", second)
    assert first.read_bytes() == second.read_bytes()
    with tarfile.open(first) as archive:
        names = archive.getnames()
    assert "gatewright-1.2.0/CHANGELOG.md" in names
    assert "gatewright-1.2.0/not-committed" not in names


def test_checksums_are_of_every_file(tmp_path: Path) -> None:
    (tmp_path / "b.whl").write_bytes(b"b")
    (tmp_path / "a.whl").write_bytes(b"a")
    for _ in range(2):  # the list is not one of its own files
        release.write_checksums(tmp_path)
    assert (tmp_path / "SHA256SUMS").read_text().splitlines() == [
        f"{hashlib.sha256(content.encode()).hexdigest()}  {content}.whl" for content in ("a", "b")
    ]
