"""gomodule: what the go command makes of a module and a version, from a module proxy that is a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from gatewright_builder.mistake import BuildError
from gatewright_builder.origin import Kind, Origin, Pin
from gatewright_builder.tree import read_tree, write_tree

Find = Callable[..., Origin]
pytestmark = pytest.mark.timeout(180)
MODULE = "example.com/policies/stamp"
FILES = {
    "policy-definition.yaml": b"name: stamp\nversion: v1.0.0\nruntime: go\n",
    "policy.go": b"// SPDX-License-Identifier: BSD-3-Clause\npackage stamp\n",
}


@pytest.fixture
def proxy(module_proxy: Path, publish_module: Callable[..., None]) -> Path:
    for version in ("v1.0.0", "v1.2.0"):
        publish_module(module_proxy, MODULE, version, FILES)
    return module_proxy


@pytest.fixture
def module(find: Find, tmp_path: Path, proxy: Path) -> Callable[..., Origin]:  # noqa: ARG001
    def found(query: str, pin: Pin | None = None, **more: str) -> Origin:
        return find(tmp_path, Kind.GO_MODULE, f"{MODULE}@{query}", pin, **more)

    return found


def refused(module: Find, *arguments: object) -> str:
    with pytest.raises(BuildError) as caught:
        module(*arguments)
    return str(caught.value)


@pytest.mark.parametrize(("query", "version"), [("v1.0.0", "v1.0.0"), ("latest", "v1.2.0"), ("v1.0", "v1.0.0")])
def test_a_version_is_resolved_and_pinned(module: Find, query: str, version: str) -> None:
    origin = module(query)
    assert (origin.resolved, origin.licence) == (f"{MODULE}@{version}", "BSD-3-Clause")
    assert read_tree(origin.folder) | FILES == read_tree(origin.folder)
    assert origin.pin is not None
    assert origin.pin.version == version
    assert origin.pin.sum.startswith("h1:")


def test_a_pin_holds_against_newer_versions_and_needs_no_proxy(
    module: Find, proxy: Path, publish_module: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    pin = module("latest").pin
    publish_module(proxy, MODULE, "v1.3.0", FILES)
    assert module("latest", pin).resolved == f"{MODULE}@v1.2.0"
    monkeypatch.setenv("GOPROXY", "off")
    assert module("latest", pin).resolved == f"{MODULE}@v1.2.0"


def test_another_sum_under_the_same_version_is_refused(module: Find) -> None:
    message = refused(module, "v1.0.0", Pin("0" * 64, "v1.0.0", "h1:other"))
    assert f"expected {MODULE}@v1.0.0 with the sum h1:other, as build.lock has it, got h1:" in message


def test_a_local_folder_stands_in(module: Find, tmp_path: Path) -> None:
    write_tree(FILES, tmp_path / "stamp")
    origin = module("v9.9.9", replace="stamp")
    assert (origin.folder, origin.shown, origin.pin) == (tmp_path / "stamp", "stamp", None)


def test_a_missing_version_is_reported(module: Find) -> None:
    message = refused(module, "v7.0.0")
    assert message.startswith(f"build.yaml:3: expected the module {MODULE}@v7.0.0, got ")
    assert message.endswith("check the module and its version; GOPROXY and GOPRIVATE say where it comes from")


def test_a_proxys_password_stays_out_of_the_message(module: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOPROXY", "http://robot:s3cretw0rd@127.0.0.1:1/go")
    message = refused(module, "v7.0.0")
    assert "127.0.0.1:1" in message
    assert "s3cretw0rd" not in message
