"""pipPackage: a policy in a wheel, from the index that the environment names, and from the cache ever after."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from gatewright_builder.mistake import BuildError
from gatewright_builder.origin import Kind, Origin, Pin
from gatewright_builder.tree import Tree, read_tree

if TYPE_CHECKING:
    from conftest import Server

Find = Callable[..., Origin]
pytestmark = [pytest.mark.timeout(180), pytest.mark.usefixtures("fresh_cache")]
SOURCE = "acme-limit>=1,<2"


def policy(folder: str, name: str = "limit", version: str = "v1.0.0") -> Tree:
    return {
        f"{folder}/__init__.py": b"",
        f"{folder}/policy.py": b"from .words import SAY\n",
        f"{folder}/words.py": b"SAY = 1\n",
        f"{folder}/policy-definition.yaml": f"name: {name}\nversion: {version}\nruntime: python\n".encode(),
    }


@pytest.fixture
def package(find: Find, tmp_path: Path, packages: Path, make_wheel: Callable[..., Path]) -> Callable[..., Origin]:
    for version in ("1.0.0", "1.4.0", "2.0.0"):
        asks = ("colour>=2", "nonsense; extra == 'all'")
        make_wheel(packages, "acme-limit", version, policy("acme_limit"), asks, "License-Expression: Apache-2.0\n")

    def found(source: str = SOURCE, pin: Pin | None = None, name: str = "limit") -> Origin:
        return find(tmp_path, Kind.PIP_PACKAGE, source, pin, name=name)

    return found


def refused(package: Find, *arguments: object, **more: str) -> str:
    with pytest.raises(BuildError) as caught:
        package(*arguments, **more)
    return str(caught.value)


def test_a_range_leads_to_the_newest_version_in_it(package: Find) -> None:
    origin = package()
    assert (origin.resolved, origin.shown) == ("acme-limit==1.4.0", "acme-limit==1.4.0")
    assert sorted(read_tree(origin.folder)) == ["__init__.py", "policy-definition.yaml", "policy.py", "words.py"]
    assert (origin.licence, origin.requires) == ("Apache-2.0", ("colour>=2",))
    assert origin.pin is not None
    assert origin.pin.version == "1.4.0"


def test_a_pin_holds_against_newer_versions_and_needs_no_index(
    package: Find, packages: Path, make_wheel: Callable[..., Path]
) -> None:
    pin = package().pin
    make_wheel(packages, "acme-limit", "1.5.0", policy("acme_limit"))
    assert package(pin=pin).resolved == "acme-limit==1.4.0"
    for wheel in packages.glob("acme*"):
        wheel.unlink()
    assert package(pin=pin).resolved == "acme-limit==1.4.0"


def test_other_content_under_the_same_version_is_refused(package: Find) -> None:
    message = refused(package, SOURCE, Pin("0" * 64, "1.4.0"))
    assert f"expected {SOURCE} as build.lock has it, {'0' * 64}" in message


def test_a_package_of_several_policies_has_that_of_the_entrys_name(
    package: Find, packages: Path, make_wheel: Callable[..., Path]
) -> None:
    both = policy("acme_more/limit") | policy("acme_more/other", "other")
    make_wheel(packages, "acme-more", "1.0", both)
    assert b"name: other" in (package("acme-more==1.0", name="other").folder / "policy-definition.yaml").read_bytes()
    message = refused(package, "acme-more==1.0", name="third")
    assert message.startswith(
        "build.yaml:3: expected one folder in acme-more==1.0 with the policy-definition.yaml of third, got"
        " acme_more/limit, acme_more/other; put"
    )


def test_a_package_without_a_policy_is_refused(package: Find) -> None:
    assert "with the policy-definition.yaml of limit, got none; put" in refused(package, "colour==1.0")


def test_a_missing_version_is_reported(package: Find) -> None:
    message = refused(package, "acme-limit==7")
    assert message.startswith("build.yaml:3: expected a package acme-limit==7, got No solution found")
    assert message.endswith("(UV_DEFAULT_INDEX): it must have a wheel")


def test_a_source_distribution_never_runs(package: Find, packages: Path) -> None:
    (packages / "only_source-1.0.tar.gz").write_bytes(b"whatever is in it")
    assert "expected a package only-source==1.0, got No solution found" in refused(package, "only-source==1.0")


@pytest.mark.parametrize("status", [401, 403, 404])
def test_an_indexs_credentials_reach_it_and_no_message(
    package: Find, servers: Callable[[], Server], monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    index = servers()
    index.answer("/simple/secret-limit/", (status, {}, b""))
    for name in ("UV_NO_INDEX", "UV_OFFLINE"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"{index.url.replace('//', '//robot:s3cretw0rd@')}/simple")
    message = refused(package, "secret-limit==1.0")
    assert index.asked[0][0] == "/simple/secret-limit/"
    assert any(authorization.startswith("Basic ") for _, authorization in index.asked)
    assert "s3cretw0rd" not in message
    assert "secret-limit" in message
