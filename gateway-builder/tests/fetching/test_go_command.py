"""The settings that go gets: the operator's that it is to follow, and none that would run or change something else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from gatewright_builder.build import BuildOptions, BuildResult, build
from gatewright_builder.events import Note
from gatewright_builder.fetching.go_command import go, toolchain
from gatewright_builder.mistake import BuildError

TESTDATA = Path(__file__).parent.parent / "testdata"
pytestmark = [pytest.mark.compiles, pytest.mark.timeout(180)]
LIBRARY = "example.com/words"


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Writes the file of go env -w."""

    def write(**settings: str) -> None:
        file = tmp_path / "go-env"
        file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        monkeypatch.setenv("GOENV", str(file))

    for name in ("GOFLAGS", "GOPROXY", "GOPRIVATE", "CGO_ENABLED"):
        monkeypatch.delenv(name, raising=False)
    return write


def asked(*names: str) -> dict[str, str]:
    settings: dict[str, str] = json.loads(go("env", "-json", *names).stdout)
    return settings


def test_where_modules_come_from_is_the_operators_business(
    written: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    written(GOPROXY="https://modules.example", GOPRIVATE="corp.example", GONOSUMDB="corp.example")
    monkeypatch.setenv("GOPRIVATE", "other.example")
    assert asked("GOPROXY", "GOPRIVATE", "GONOSUMDB") == {
        "GOPROXY": "https://modules.example",
        "GOPRIVATE": "other.example",
        "GONOSUMDB": "corp.example",
    }


def test_nothing_else_is(written: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    written(GOFLAGS="-toolexec=evil", CGO_ENABLED="1", GOTOOLCHAIN="go1.99.0", GOEXPERIMENT="arenas")
    monkeypatch.setenv("GOCACHEPROG", "evil")
    assert asked("GOFLAGS", "GOTOOLCHAIN", "CGO_ENABLED", "GOEXPERIMENT", "GOCACHEPROG") == {
        "GOFLAGS": "-buildvcs=false",
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
        "GOEXPERIMENT": "",
        "GOCACHEPROG": "",
    }
    assert toolchain().endswith("\n0\n")


def test_settings_that_go_cannot_read_are_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "go").write_text("#!/bin/sh\necho 'go: no settings' >&2\nexit 2\n")
    (tmp_path / "go").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(BuildError, match="go: expected Go's settings, got go: no settings; fix them: go env -w"):
        toolchain()


@pytest.mark.usefixtures("packages")
def test_no_flag_that_was_written_runs_a_program(
    tmp_path: Path, product: Path, written: Callable[..., None], fresh_cache: Path
) -> None:
    ran, tool = tmp_path / "ran", tmp_path / "tool"
    tool.write_text(f'#!/bin/sh\ntouch {ran}\nexec "$@"\n')
    tool.chmod(0o755)
    written(GOFLAGS=f"-toolexec={tool}")
    (tmp_path / "build.yaml").write_text("version: v1\npolicies: []\n")
    build(BuildOptions(tmp_path / "build.yaml", tmp_path / "output", source_root=product))
    assert list((fresh_cache / "engines").iterdir())
    assert not ran.exists()


@pytest.mark.parametrize("name", ["GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "UV_INDEX_CORP_PASSWORD"])
def test_go_gets_no_secret(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, written: Callable[..., None]
) -> None:
    """The program that stands in for go on PATH writes its environment to a file."""
    real, seen = shutil.which("go"), tmp_path / "environment"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "go").write_text(f'#!/bin/sh\nenv >> {seen}\nexec {real} "$@"\n')
    (tmp_path / "bin" / "go").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    monkeypatch.setenv(name, "s3cr3t-t0ken")
    written(GOPROXY="off")
    go("version")
    assert "GOFLAGS=-buildvcs=false" in seen.read_text()
    assert "s3cr3t-t0ken" not in seen.read_text()


class Place:
    """An engine that asks for one version of a library, and a policy that asks for another."""

    def __init__(self, folder: Path, product: Path) -> None:
        self.folder, self.product, self.notes = folder, folder / "product", list[str]()
        shutil.copytree(product, self.product)
        shutil.copytree(TESTDATA / "policies", folder / "policies")
        with (self.product / "gateway-runtime/policy-engine/go.mod").open("a") as file:
            file.write(f"\nrequire {LIBRARY} v1.9.0\n")
        for source in (self.product / "gateway-runtime/policy-engine").glob("*/*.go"):
            before, package, rest = source.read_text().partition("package engine\n")
            source.write_text(f'{before}{package}\nimport _ "{LIBRARY}"\n{rest}')

    def ask(self, version: str) -> None:
        requires = f"require (\n\tgatewright.dev/sdk v0.0.0\n\t{LIBRARY} {version}\n)\n"
        text = f"module example.com/add-headers\n\ngo 1.26\n\n{requires}"
        (self.folder / "policies/add-headers/go.mod").write_text(text)
        entry = "  - {name: add-headers, filePath: policies/add-headers}\n"
        (self.folder / "build.yaml").write_text(f"version: v1\npolicies:\n{entry}")

    def build(self) -> BuildResult:
        self.notes.clear()
        options = BuildOptions(self.folder / "build.yaml", self.folder / "output", self.say, source_root=self.product)
        return build(options)

    def say(self, event: object) -> None:
        if isinstance(event, Note):
            self.notes.append(event.text)


@pytest.fixture
def place(tmp_path: Path, product: Path, module_proxy: Path, publish_module: Callable[..., None]) -> Place:
    for version in ("v1.8.0", "v1.9.0", "v1.10.0"):
        publish_module(module_proxy, LIBRARY, version, {"words.go": b"package words\n"})
    publish_module(module_proxy, LIBRARY, "v1.11.0", {"words.go": b"package words\n\nvar broken = 1 +\n"})
    return Place(tmp_path, product)


@pytest.mark.usefixtures("fresh_cache")
def test_a_dependency_of_the_engine_that_a_policy_raises_is_noted(place: Place) -> None:
    place.ask("v1.8.0")
    place.build()
    assert place.notes == []
    place.ask("v1.10.0")
    raised = f"add-headers:v1.9.0 raises a dependency of the engine: {LIBRARY} from v1.9.0 to v1.10.0"
    for _ in ("compiled", "as it was"):
        place.build()
        assert place.notes == [raised]


@pytest.mark.usefixtures("fresh_cache")
def test_the_policy_that_raises_it_to_a_version_that_does_not_compile_is_named(place: Place) -> None:
    place.ask("v1.11.0")
    with pytest.raises(BuildError) as caught:
        place.build()
    assert str(caught.value).endswith(
        f"add-headers:v1.9.0 raises a dependency of the engine: {LIBRARY} from v1.9.0 to v1.11.0:"
        " ask for a version that it compiles with"
    )
