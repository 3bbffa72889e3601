"""Packages that there are only as sources: building one runs its code, so it happens only where build.yaml says so."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from gatewright_builder.build import BuildOptions, BuildResult, build
from gatewright_builder.events import Note
from gatewright_builder.mistake import BuildError
from gatewright_builder.tree import write_tree

pytestmark = [pytest.mark.compiles, pytest.mark.timeout(180), pytest.mark.usefixtures("fresh_cache")]
SECRETS = ("GITHUB_TOKEN", "GATEWRIGHT_GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "CI_JOB_TOKEN", "UV_PUBLISH_TOKEN")
DEFINITION = "name: sample\nversion: v1.0.0\nruntime: python\nprocessingMode:\n  requestHeaderMode: PROCESS\n"
POLICY = "def on_request(ctx, params): ...\n"
PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "{name}"
dynamic = ["version"]
"""
BACKEND = """
import os, zipfile

with open({ran!r}, "a") as file:
    print(*sorted(os.environ), file=file)

def build_wheel(folder, config_settings=None, metadata_directory=None):
    name = "{module}-1.0-py3-none-any.whl"
    info = "{module}-1.0.dist-info"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as wheel:
        wheel.writestr("{module}.py", "")
        wheel.writestr(info + "/METADATA", "Metadata-Version: 2.1\\nName: {name}\\nVersion: 1.0\\n")
        wheel.writestr(info + "/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(info + "/RECORD", "")
    return name
"""


@dataclass
class Place:
    """One Python policy, in the index two packages that are sources only. `ran` is written by what builds them."""

    folder: Path
    product: Path
    packages: Path
    notes: list[str]

    @property
    def ran(self) -> Path:
        return self.folder / "ran"

    def ask(self, requirement: str, more: str = "") -> None:
        files = {"policy-definition.yaml": DEFINITION, "policy.py": POLICY, "requirements.txt": f"{requirement}\n"}
        write_tree({f"sample/{name}": text.encode() for name, text in files.items()}, self.folder)
        text = f"version: v1\n{more}policies:\n  - {{name: sample, filePath: sample}}\n"
        (self.folder / "build.yaml").write_text(text)

    def build(self) -> BuildResult:
        return build(
            BuildOptions(self.folder / "build.yaml", self.folder / "build", self.say, source_root=self.product)
        )

    def say(self, event: object) -> None:
        if isinstance(event, Note):
            self.notes.append(event.text)

    def refused(self) -> str:
        with pytest.raises(BuildError) as caught:
            self.build()
        return str(caught.value)

    def lock(self) -> dict[str, object]:
        locked: dict[str, dict[str, dict[str, object]]] = json.loads((self.folder / "build.lock").read_text())
        return locked["groups"]["default"]


@pytest.fixture
def place(
    tmp_path: Path, product: Path, packages: Path, make_wheel: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Place:
    made = Place(tmp_path, product, packages, [])
    for name in ("only-source", "also-source"):
        write_sdist(packages, name, str(made.ran))
    make_wheel(packages, "upper", "1.0", requires=("only-source",))
    for name in SECRETS:
        monkeypatch.setenv(name, "s3cr3t-t0ken")
    return made


def write_sdist(folder: Path, name: str, ran: str) -> None:
    module = name.replace("-", "_")
    files = {
        "pyproject.toml": PROJECT.format(name=name),
        "backend.py": BACKEND.format(name=name, module=module, ran=ran),
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
    }
    with tarfile.open(folder / f"{module}-1.0.tar.gz", "w:gz") as archive:
        for path, text in files.items():
            member = tarfile.TarInfo(f"{module}-1.0/{path}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))


@pytest.mark.parametrize("asked", ["only-source", "upper"], ids=["asked for itself", "by another package"])
def test_sources_are_not_built_unasked(place: Place, asked: str) -> None:
    place.ask(asked)
    refusal = place.refused()
    assert not place.ran.exists(), "what builds the package ran"
    assert refusal.startswith("sample/requirements.txt:1: expected a wheel of only-source, got none that fits (")
    assert refusal.endswith("sdists: [only-source] in build.yaml")


def test_sources_that_build_yaml_names_are_built_and_no_others(place: Place) -> None:
    place.ask("upper\nalso-source", "sdists: [Only_Source]\n")
    assert "expected a wheel of also-source, got" in place.refused()
    place.ask("upper", "sdists: [Only_Source]\n")
    assert list((place.build().output / "python-env/default").glob("lib/*/site-packages/only_source.py"))
    assert place.ran.exists()
    assert place.lock()["sdists"] == ["only-source"]


def test_what_builds_them_sees_no_secret(place: Place) -> None:
    place.ask("upper", "sdists: [only-source]\n")
    place.build()
    seen = place.ran.read_text().split()
    assert {"PATH", "UV_FIND_LINKS"} <= set(seen)
    assert not set(SECRETS) & set(seen)


def test_a_permission_that_is_taken_back_counts(place: Place) -> None:
    place.ask("only-source", "sdists: [only-source]\n")
    place.build()
    place.ask("only-source")
    assert "expected a wheel of only-source, got" in place.refused()


def test_a_lock_made_before_permissions_lets_nothing_run(place: Place) -> None:
    place.ask("only-source", "sdists: [only-source]\n")
    place.build()
    lock = json.loads((place.folder / "build.lock").read_text())
    del lock["groups"]["default"]["sdists"]
    (place.folder / "build.lock").write_text(json.dumps(lock))
    for path in (place.ran, *place.packages.glob("only_source*")):
        path.unlink()
    write_sdist(place.packages, "only-source", str(place.ran))
    place.ask("only-source")
    assert "expected a wheel of only-source, got" in place.refused()
    assert not place.ran.exists()


def test_a_name_that_no_policy_asks_for_is_noted(place: Place) -> None:
    place.ask("colour", "sdists: [only-sauce]\n")
    place.build()
    assert place.notes == ["build.yaml: sdists has only-sauce, which no policy asks for: take it out"]
    assert "sdists" not in place.lock()
