"""A build of policies from all sources, in groups that could not share an environment, behind a real gateway."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from e2e.kit.gateway import Json, api, attach, running
from e2e.kit.places import ROOT
from e2e.kit.publishing import PASSWORD, TOKEN, Publisher, publish_module
from e2e.kit.upstream import Upstream

SOURCES = Path(__file__).parent / "testdata" / "published"
MANIFEST = f"""
version: v1
policies:
  - {{name: log-message, filePath: {ROOT / "policies" / "log-message"}}}
  - {{name: stamp, gomodule: example.com/policies/stamp@latest}}
  - {{name: greet, pythonmodule: github.com/acme/gateway/policies/greet@v1.0.0}}
  - {{name: greet, pythonmodule: github.com/acme/gateway/policies/greet@v2.0.0}}
  - {{name: old-models, pipPackage: "acme-old-models>=1,<2", group: old}}
  - {{name: new-models, filePath: {SOURCES / "new-models"}}}
"""
pytestmark = pytest.mark.timeout(300)


def go_proxies() -> str:
    """The proxies of Go modules on this machine."""
    return subprocess.run(["go", "env", "GOPROXY"], capture_output=True, text=True, check=True).stdout.strip()


@dataclass
class Builds:
    """A build.yaml, the server of its sources, and the output of its builds."""

    folder: Path
    environment: dict[str, str]
    output: str = ""

    def build(self, output: str, *arguments: str, **environment: str) -> list[Json]:
        """The events of `gatewright build --json`."""
        manifest = str(self.folder / "build.yaml")
        command = ["gatewright", "build", "--json", "--manifest", manifest, "--output", output]
        result = subprocess.run(
            [*command, *arguments], cwd=self.folder, env=self.environment | environment, capture_output=True, text=True,
            timeout=240, check=False,
        )  # fmt: skip
        self.output += result.stdout + result.stderr
        assert result.returncode == 0, result.stdout + result.stderr
        return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture(scope="module")
def publisher() -> Iterator[Publisher]:
    package_server = Publisher()
    with package_server:
        for number in ("1", "2"):
            folders = {"policies/greet": SOURCES / f"greet-v{number}", "elsewhere": SOURCES / "stamp"}
            package_server.publish_repository("acme/gateway", f"v{number}.0.0", folders)
        package_server.publish_package("acme-old-models", "1.3.0", SOURCES / "old-models", "pydantic<2")
        yield package_server


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory, publisher: Publisher) -> Builds:
    folder = tmp_path_factory.mktemp("groups")
    publish_module(folder / "proxy", "example.com/policies/stamp", "v1.2.0", SOURCES / "stamp")
    (folder / "build.yaml").write_text(MANIFEST)
    own = {
        "GATEWRIGHT_CACHE_DIR": str(folder / "cache"),
        "GATEWRIGHT_GITHUB_URL": publisher.url,
        "GATEWRIGHT_GITHUB_TOKEN": TOKEN,
        "UV_INDEX": publisher.index,
        "GOPROXY": f"{(folder / 'proxy').as_uri()},{go_proxies()}",
        "GONOSUMDB": "example.com",
    }
    return Builds(folder, dict(os.environ) | own)


@pytest.fixture(scope="module")
def first_build(builds: Builds) -> tuple[Path, list[Json]]:
    return builds.folder / "out" / "first", builds.build("out/first")


def test_the_build_prints_its_downloads(first_build: tuple[Path, list[Json]]) -> None:
    _, events = first_build
    fetched = {event["what"] for event in events if event["event"] == "download" and event["done"]}
    assert fetched == {f"github.com/acme/gateway/policies/greet@v{number}.0.0" for number in (1, 2)}
    assert events[-1]["event"] == "built"


def test_six_policies_of_four_kinds_in_two_groups_answer(
    first_build: tuple[Path, list[Json]], tmp_path: Path, upstream: Upstream
) -> None:
    both = [{**attach("greet"), "version": version} for version in ("v1.0.0", "v2.0.0")]
    chain = [attach("log-message"), attach("stamp"), *both, attach("old-models"), attach("new-models")]
    with running(first_build[0], tmp_path, "--executors", "2") as gateway:
        names = [process["name"] for process in gateway.status()["processes"] if process["name"].startswith("executor")]
        assert names == [f"executor-{group}-{number}" for group in ("default", "old") for number in (0, 1)]
        gateway.deploy(api("everything", upstream.url, chain))
        assert httpx.get(f"{gateway.url}/everything/x").status_code == 200
        log = "\n".join(gateway.log)
    (request,) = upstream.received
    assert request.value("x-stamp") == "module"
    assert request.values("x-greet") == [b"v1", b"v2"]
    old, new = (request.value(f"x-{which}-models") or "" for which in ("old", "new"))
    assert old.startswith("1."), old
    assert int(new.split(".")[0]) >= 2, new
    assert PASSWORD not in log


def hashes(output: Path) -> dict[str, str]:
    """All files but the bytecode that executors leave beside their sources, which is no part of an output."""
    files = {str(path.relative_to(output)): path for path in output.rglob("*") if path.is_file()}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in files.items()
        if not (name.startswith("python-executor/") and "/__pycache__/" in name)
    }


def test_the_same_lock_gives_the_same_bytes_in_another_folder_without_any_server(
    first_build: tuple[Path, list[Json]], builds: Builds
) -> None:
    lock = (builds.folder / "build.lock").read_bytes()
    offline = {"GATEWRIGHT_GITHUB_URL": "http://127.0.0.1:1", "GOPROXY": "off", "UV_OFFLINE": "1"}
    events = builds.build("out/deeper/second", "--locked", **offline)
    assert not [event for event in events if event["event"] == "download"]
    assert (builds.folder / "build.lock").read_bytes() == lock
    first_hashes, second_hashes = hashes(first_build[0]), hashes(builds.folder / "out" / "deeper" / "second")
    assert first_hashes == second_hashes
    assert {
        "bin/policy-engine",
        "sbom.cdx.json",
        "requirements/old.lock",
        "python-executor/main.py",
    } <= first_hashes.keys()
    assert [name for name in first_hashes if name.startswith("python-env/old/") and name.endswith(".pyc")]


def test_manifest_and_sbom_have_sources_hashes_and_licences(first_build: tuple[Path, list[Json]]) -> None:
    manifest = json.loads((first_build[0] / "manifest.json").read_text())
    assert {(policy["kind"], policy["source"]) for policy in manifest["policies"] if policy["kind"] != "filePath"} == {
        ("gomodule", "example.com/policies/stamp@v1.2.0"),
        ("pythonmodule", "github.com/acme/gateway/policies/greet@v1.0.0"),
        ("pythonmodule", "github.com/acme/gateway/policies/greet@v2.0.0"),
        ("pipPackage", "acme-old-models==1.3.0"),
    }
    assert all(len(policy["sourceDigest"]) == 64 for policy in manifest["policies"])
    assert [policy["licence"] for policy in manifest["policies"] if policy["name"] == "old-models"] == ["MIT"]
    components = json.loads((first_build[0] / "sbom.cdx.json").read_text())["components"]
    pydantic = [component for component in components if component["name"] == "pydantic"]
    assert sorted(component["version"].split(".")[0] for component in pydantic) == ["1", "2"]
    assert all(component["hashes"] and component["licenses"] for component in pydantic)
    assert "pkg:golang/google.golang.org/grpc@" in " ".join(component.get("purl", "") for component in components)


def test_no_credential_is_in_the_outputs_of_a_build(
    first_build: tuple[Path, list[Json]], builds: Builds, publisher: Publisher
) -> None:
    targets = {request.target for request in publisher.received if request.value("authorization")}
    assert {"/acme/gateway/tar.gz/v1.0.0", "/simple/acme-old-models/"} <= targets, "both secrets were really used"
    files = [path for path in builds.folder.rglob("*") if path.is_file()]
    assert first_build[0] / "manifest.json" in files
    for secret in (PASSWORD, TOKEN):
        assert secret not in builds.output
        assert [str(path) for path in files if secret.encode() in path.read_bytes()] == []
