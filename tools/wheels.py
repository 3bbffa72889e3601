"""Builds the two distributions that are installed: gatewright, a wheel with an engine in it, and gatewright-sdk.

    python tools/wheels.py FOLDER        (default dist)

For development every component is a distribution of its own; what is installed is one, gatewright: their packages, the
stock engine, and in gatewright_builder/product/ the sources that a build copies, laid out as in a checkout.
"""

from __future__ import annotations

import base64
import hashlib
import json
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import TypedDict

from gatewright_builder.stock_engine import main as write_stock_engine

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("cli", "documents", "gateway-builder", "gateway-controller", "gateway-runtime/python-executor")
SDK = "sdk/python"
PRODUCT = (
    "gateway-runtime/envoy/bootstrap.yaml",
    "gateway-runtime/python-executor/pyproject.toml",
    "gateway-runtime/python-executor/src",
    "sdk/python/pyproject.toml",
    "sdk/python/src",
    "policies",
)
UNWANTED = shutil.ignore_patterns("__pycache__", "*.egg-info")
TESTS = shutil.ignore_patterns("__pycache__", "*_test.go", "test_*.py", "testdata", "*.egg-info")
ENGINE = "gatewright_builder/stock/policy-engine"
PLATFORM = f"py3-none-manylinux_2_17_{platform.machine()}"  # of Envoy; the engine is static
NAME = re.compile(r"[\w.-]+")
EPOCH = (1980, 1, 1, 0, 0, 0)


class Project(TypedDict):
    """The fields read from a component's pyproject.toml."""

    name: str
    version: str
    dependencies: list[str]
    scripts: dict[str, str]


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("gatewright*.whl"):
        stale.unlink()
    with tempfile.TemporaryDirectory() as temporary:
        staging, built = Path(temporary) / "gatewright", Path(temporary) / "wheels"
        stage(staging)
        for source in (staging, ROOT / SDK):
            build("--wheel", source, built)
        (pure,) = built.glob("gatewright-*.whl")
        (sdk,) = built.glob("gatewright_sdk-*.whl")
        for_this_platform(pure, folder / pure.name.replace("py3-none-any", PLATFORM))
        shutil.copy(sdk, folder)
    print(*sorted(folder.glob("gatewright*.whl")), sep="\n")


def build_sdist(folder: Path) -> None:
    """The SDK's. The wheel gatewright has a compiled engine: its sources are those of the repository."""
    build("--sdist", ROOT / SDK, folder)


def build(kind: str, source: Path, folder: Path) -> None:
    pinned = ("--build-constraints", str(ROOT / "requirements" / "dev.txt"), "--require-hashes")
    run("uv", "build", "--quiet", "--no-create-gitignore", kind, *pinned, "--out-dir", str(folder), str(source))


def stage(folder: Path) -> None:
    """Lays out the source tree of the distribution gatewright."""
    source = folder / "src"
    for part in PARTS:
        shutil.copytree(ROOT / part / "src", source, ignore=UNWANTED, dirs_exist_ok=True)
    builder = source / "gatewright_builder"
    for path in PRODUCT:
        copy(ROOT / path, builder / "product" / path)
    write_stock_engine(str(builder / "stock"))
    for file in ("LICENSE", "README.md"):
        shutil.copy(ROOT / file, folder)
    (folder / "pyproject.toml").write_text(pyproject())


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=TESTS)
    else:
        shutil.copy(source, target)


def pyproject() -> str:
    """The distribution's own, made from those of its parts."""
    projects = [project(part) for part in PARTS]
    sdk, cli = project(SDK), projects[0]
    lines = [
        "[project]",
        'name = "gatewright"',
        f"version = {json.dumps(cli['version'])}",
        'description = "An API gateway whose policies are plain Python functions, beside Go ones, on a real Envoy"',
        'readme = "README.md"',
        'license = "Apache-2.0"',
        'license-files = ["LICENSE"]',
        'requires-python = ">=3.11"',
        f"dependencies = {json.dumps(dependencies(projects, sdk))}",
        "[project.optional-dependencies]",
        *(f"{name} = {json.dumps(lines)}" for name, lines in extras().items()),
        "[project.scripts]",
        *(f"{name} = {json.dumps(target)}" for name, target in cli["scripts"].items()),
        "[build-system]",
        'requires = ["uv_build>=0.9,<0.15"]',
        'build-backend = "uv_build"',
        "[tool.uv.build-backend]",
        f"module-name = {json.dumps(sorted({package(part) for part in PARTS}))}",
    ]
    return "\n".join([*lines, ""])


def project(part: str) -> Project:
    metadata: Project = tomllib.loads((ROOT / part / "pyproject.toml").read_text())["project"]
    return metadata


def package(part: str) -> str:
    (folder,) = (ROOT / part / "src").glob("gatewright_*")
    return folder.name


def dependencies(projects: Iterable[Project], sdk: Project) -> list[str]:
    """The requirements of all parts, one line each, with the SDK of this very version in place of our own parts."""
    projects = list(projects)
    own = {metadata["name"] for metadata in (*projects, sdk)}
    lines = {line for metadata in projects for line in metadata["dependencies"]}
    requirements = {line for line in lines if NAME.match(line)[0] not in own}  # type: ignore[index]
    return sorted([*requirements, f"{sdk['name']}=={sdk['version']}"])


def extras() -> dict[str, list[str]]:
    """The optional requirements of the parts, by the names of their extras."""
    dependencies_by_extra: dict[str, list[str]] = {}
    for part in PARTS:
        dependencies_by_extra |= tomllib.loads((ROOT / part / "pyproject.toml").read_text())["project"].get(
            "optional-dependencies", {}
        )
    return dependencies_by_extra


def for_this_platform(pure: Path, target: Path) -> None:
    """The wheel with its engine executable, and tagged for this platform; the same bytes from the same content."""
    with zipfile.ZipFile(pure) as wheel:
        files = {name: wheel.read(name) for name in sorted(wheel.namelist()) if not name.endswith("/")}
    (info,) = {name.partition("/")[0] for name in files if name.endswith(".dist-info/WHEEL")}
    files[f"{info}/WHEEL"] = add_tag(files[f"{info}/WHEEL"].decode()).encode()
    del files[f"{info}/RECORD"]
    files[f"{info}/RECORD"] = record(files, f"{info}/RECORD").encode()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.external_attr = (0o100755 if name == ENGINE else 0o100644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            wheel.writestr(entry, content)


def add_tag(text: str) -> str:
    """WHEEL, https://packaging.python.org/en/latest/specifications/binary-distribution-format/."""
    text = re.sub(r"^Root-Is-Purelib: .*$", "Root-Is-Purelib: false", text, flags=re.MULTILINE)
    return re.sub(r"^Tag: .*$", f"Tag: {PLATFORM}", text, flags=re.MULTILINE)


def record(files: dict[str, bytes], own: str) -> str:
    """RECORD: every file with its hash and size, itself without."""
    lines = [f"{name},sha256={digest(content)},{len(content)}" for name, content in files.items()]
    return "\n".join([*lines, f"{own},,", ""])


def digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def run(*command: str) -> None:
    if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
        raise SystemExit(f"wheels: failed: {' '.join(command)}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "dist"))
