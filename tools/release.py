"""Makes the files of a release in dist/VERSION/ and prints the commands that publish them. It publishes nothing.

    python tools/release.py        `make release`

Wheels, the SDK's sdist, the sources, the image's recipe, the bill of materials of the stock build, notes, checksums.
The version is the product's (`make version VERSION=…`), and CHANGELOG.md has a section of it (`make changelog
VERSION=…`).
"""

from __future__ import annotations

import gzip
import hashlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import wheels
from product_version import VERSION, differing_places, read_version

ROOT = Path(__file__).resolve().parent.parent
CHECKSUMS, NOTES = "SHA256SUMS", "NOTES.md"
SECTION = re.compile(r"^## (?P<version>\S+) \((?P<date>[^)]*)\)$", re.MULTILINE)
NO_FRAGMENTS = {"README.md", "template.md.jinja"}


@dataclass(frozen=True)
class Checkout:
    """A clone of the repository."""

    root: Path

    def git(self, *arguments: str) -> str:
        result = subprocess.run(("git", "-C", str(self.root), *arguments), capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise SystemExit(f"release: git {' '.join(arguments)} failed: {result.stderr.strip()}")
        return result.stdout.strip()

    def obstacles(self) -> Iterator[str]:
        """The reasons why HEAD cannot be released, each with its cure."""
        version = read_version(self.root)
        if not VERSION.fullmatch(version):
            yield f"expected a version MAJOR.MINOR.PATCH, got {version}: make version VERSION=0.2.0"
        for differing in differing_places(self.root):
            yield f"expected version {version}, as the SDK has it, got {differing}: make version VERSION={version}"
        if changed := self.git("status", "--porcelain").splitlines():
            yield f"expected all to be committed, got {len(changed)} changes, such as {changed[0]!r}: commit them"
        if fragments := sorted({path.name for path in (self.root / "changes").iterdir()} - NO_FRAGMENTS):
            yield (
                f"expected changes/ to be folded, got {len(fragments)} files, such as {fragments[0]}: "
                f"make changelog VERSION={version}"
            )
        if (newest := newest_section(self.changelog())) != version:
            yield (
                f"expected CHANGELOG.md to begin with version {version}, got {newest or 'no section'}: "
                f"make changelog VERSION={version}"
            )
        tagged = self.git("tag", "--list", f"v{version}")
        if tagged and self.git("rev-parse", f"v{version}^{{commit}}") != self.git("rev-parse", "HEAD"):
            yield f"expected a version that is not released yet, got {version}, which another commit is tagged with"

    def changelog(self) -> str:
        return (self.root / "CHANGELOG.md").read_text()


def newest_section(changelog: str) -> str:
    """The version of the first section; "" where there is none."""
    match = SECTION.search(changelog)
    return match["version"] if match else ""


def notes_of(changelog: str, version: str) -> str:
    """The section of a version, without its title."""
    sections = list(SECTION.finditer(changelog))
    for number, section in enumerate(sections):
        if section["version"] == version:
            end = sections[number + 1].start() if number + 1 < len(sections) else len(changelog)
            return changelog[section.end() : end].strip() + "\n"
    raise SystemExit(f"release: CHANGELOG.md: expected a section of version {version}")


def write_sources(checkout: Checkout, version: str, target: Path) -> None:
    """Archives the committed files; the same bytes for the same commit."""
    prefix = f"gatewright-{version}/"
    command = ("git", "-C", str(checkout.root), "archive", "--format=tar", f"--prefix={prefix}", "HEAD")
    archive = subprocess.run(command, capture_output=True, check=True).stdout
    target.write_bytes(gzip.compress(archive, mtime=0))


def write_checksums(folder: Path) -> None:
    """SHA256SUMS, as `sha256sum --check` reads it."""
    files = sorted(path for path in folder.iterdir() if path.name != CHECKSUMS)
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}" for path in files]
    (folder / CHECKSUMS).write_text("\n".join([*lines, ""]))


def make_release(checkout: Checkout, version: str, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    wheels.main(folder)
    wheels.build_sdist(folder)
    run("gatewright", "build", "--manifest", "build.yaml", "--output", "build/stock")
    shutil.copy(checkout.root / "build/stock/sbom.cdx.json", folder / f"gatewright-{version}.cdx.json")
    shutil.copy(checkout.root / "gateway-runtime/Dockerfile", folder / f"gatewright-{version}.Dockerfile")
    write_sources(checkout, version, folder / f"gatewright-{version}-sources.tar.gz")
    (folder / NOTES).write_text(notes_of(checkout.changelog(), version))
    write_checksums(folder)


def run(*command: str) -> None:
    if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
        raise SystemExit(f"release: failed: {' '.join(command)}")


def report(checkout: Checkout, version: str, folder: Path) -> str:
    """The files made, and the commands that publish them."""
    place = folder.relative_to(checkout.root)
    files = sorted(path for path in folder.iterdir() if path.name != CHECKSUMS)
    width = max(len(path.name) for path in files)
    lines = [f"  {path.name:{width}}  {path.stat().st_size:>12,} bytes" for path in files]
    return "\n".join(
        [
            f"release {version} of {checkout.git('rev-parse', '--short', 'HEAD')}, in {place}:",
            *lines,
            f"  {CHECKSUMS}",
            "",
            "Nothing is published. What would be:",
            f"  git tag --sign v{version} && git push origin v{version}",
            f"  uv publish {place}/*.whl {place}/gatewright_sdk-{version}.tar.gz",
            f"  docker build -f gateway-runtime/Dockerfile -t gatewright:{version} .   and docker push",
            f"  a release v{version} of the repository, with all files above, and {NOTES} as its text",
        ]
    )


def main() -> None:
    checkout = Checkout(ROOT)
    if obstacles := list(checkout.obstacles()):
        raise SystemExit("\n".join(["release: not made", *(f"  {obstacle}" for obstacle in obstacles)]))
    version = read_version()
    folder = ROOT / "dist" / version
    make_release(checkout, version, folder)
    print(report(checkout, version, folder))


if __name__ == "__main__":
    main()
