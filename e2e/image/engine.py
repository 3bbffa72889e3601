"""Builds images and runs containers without a container engine's daemon: buildah and podman with runc, as root.

Everything is kept in .tools/image: `make clean` removes it, and a second run finds all layers.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

from e2e.kit.places import ROOT

HOME = ROOT / ".tools" / "image"
RUN_HOME = HOME / "run"
PACKAGES = {"buildah": "buildah", "podman": "podman", "runc": "runc", "mmdebstrap": "mmdebstrap"}
BASE = "docker.io/library/debian:bookworm-slim"
AUTHORITIES = Path("/usr/local/share/ca-certificates")
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
STORAGE = ("--root", str(HOME / "store"), "--runroot", str(RUN_HOME), "--storage-driver", "overlay")
PODMAN = ("podman", *STORAGE, "--cgroup-manager", "cgroupfs", "--runtime", "runc")
BUILDAH = ("buildah", *STORAGE)


def output_of(*command: str, seconds: float = 180, check: bool = True, merged: bool = False) -> str:
    """The stdout of the command, or `merged` both outputs; fails with its last lines on stderr.

    A command that hangs, a download mostly, is stopped with all that it has started, and tried twice.
    """
    try:
        result = _run(command, seconds, merged)
    except subprocess.TimeoutExpired:
        result = _run(command, seconds, merged)
    output = "\n".join((result.stderr or result.stdout).splitlines()[-30:])
    assert result.returncode == 0 or not check, f"{' '.join(command)}: exit code {result.returncode}\n{output}"
    return result.stdout


def _run(command: tuple[str, ...], seconds: float, merged: bool) -> subprocess.CompletedProcess[str]:
    errors = subprocess.STDOUT if merged else subprocess.PIPE
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True) as process:
        try:
            stdout, stderr = process.communicate(timeout=seconds)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)  # else what a build was running goes on beside the second try
            raise
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr or "")


def podman(*arguments: str, seconds: float = 180, check: bool = True, merged: bool = False) -> str:
    return output_of(*PODMAN, *arguments, seconds=seconds, check=check, merged=merged)


def install() -> None:
    """Fetches the programs that are missing from Debian."""
    assert os.geteuid() == 0, "the image test builds and runs containers itself: run it as root"
    missing = [package for program, package in PACKAGES.items() if shutil.which(program) is None]
    if not missing:
        return
    assert shutil.which("apt-get"), f"the image test needs {', '.join(missing)}: install them (there is no apt-get)"
    output_of("apt-get", "update", seconds=300)
    output_of("apt-get", "install", "-y", "--no-install-recommends", *missing, seconds=900)


def make_base() -> None:
    """Stands in for Docker Hub's image of the same name: the same distribution, made from Debian's archive.

    The machine's own certificate authorities go into it, as they do where a company's proxy needs one.
    """
    if podman("images", "--quiet", BASE, check=False).strip():
        return
    HOME.mkdir(parents=True, exist_ok=True)
    archive = HOME / "base.tar"
    if not archive.exists():
        partial = HOME / "partial.tar"
        output_of("mmdebstrap", "--variant=minbase", "--mode=root", "bookworm", str(partial), seconds=900)
        partial.rename(archive)
    _commit_base(archive)


def _commit_base(archive: Path) -> None:
    container = output_of(*BUILDAH, "from", "scratch").strip()
    output_of(*BUILDAH, "add", "--quiet", container, str(archive), "/", seconds=300)
    for authority in sorted(AUTHORITIES.glob("*.crt")):
        output_of(*BUILDAH, "add", "--quiet", container, str(authority), f"{AUTHORITIES}/")
    output_of(*BUILDAH, "config", "--cmd", "/bin/bash", "--env", f"PATH={SEARCH_PATH}", container)
    output_of(*BUILDAH, "commit", "--quiet", "--rm", container, BASE, seconds=300)


def build_image(tag: str, manifest: str = "build.yaml") -> str:
    """Builds the Dockerfile unchanged; returns the tag. Docker's format, because OCI's has no HEALTHCHECK."""
    command = (
        *BUILDAH, "build", "--isolation", "chroot", "--pull-never", "--layers", "--format", "docker",
        "--build-arg", f"MANIFEST={manifest}", "--file", str(ROOT / "gateway-runtime" / "Dockerfile"), "--tag", tag,
        str(ROOT),
    )  # fmt: skip
    output_of(*command, seconds=3000)
    return tag


def inspect(name: str) -> dict[str, Any]:
    """An image's or a container's description."""
    documents: list[dict[str, Any]] = json.loads(podman("inspect", name))
    return documents[0]
