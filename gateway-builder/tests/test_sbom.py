from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from gatewright_builder.engine_record import EngineRecord, GoModule
from gatewright_builder.origin import Kind, Origin, Pin
from gatewright_builder.policy import Policy
from gatewright_builder.sbom import Materials, Package, generate_sbom, installed_packages, is_of
from gatewright_builder.tree import write_tree

DEFINITION = b"name: sample\nversion: v1.0.0\nruntime: python\nprocessingMode: {requestHeaderMode: PROCESS}\n"
HASH = "a" * 64
ENGINE = EngineRecord(
    "", "", "b" * 64, {}, [GoModule("gatewright.dev/sdk"), GoModule("example.com/lib", "v1.0.0", "h1:")]
)


@pytest.fixture
def policy(tmp_path: Path, discovered: Callable[[Path], Policy]) -> Policy:
    write_tree({"policy-definition.yaml": DEFINITION}, tmp_path / "sample")
    return discovered(tmp_path / "sample")


def materials(policy: Policy) -> Materials:
    package = Package("acme-limit", "1.2", "MIT", (HASH,))
    return Materials((policy,), {"default": (package,), "slow": (package,)}, ENGINE)


def components(content: bytes) -> dict[str, dict[str, object]]:
    return {component["bom-ref"]: component for component in json.loads(content)["components"]}


def test_all_that_is_compiled_in_or_installed_is_listed(policy: Policy) -> None:
    found = components(generate_sbom(materials(policy)))
    assert sorted(found) == [
        "engine",
        "pkg:golang/example.com/lib@v1.0.0",
        "policy sample:v1.0.0",
        "pypi acme-limit@1.2",
    ]
    package = found["pypi acme-limit@1.2"]
    assert (package["purl"], package["hashes"]) == ("pkg:pypi/acme-limit@1.2", [{"alg": "SHA-256", "content": HASH}])
    assert {"name": "gatewright:group", "value": "default slow"} in package["properties"]  # type: ignore[operator]
    assert package["licenses"] == [{"license": {"id": "MIT"}}]


def test_the_same_materials_are_the_same_bytes_and_others_have_another_serial(policy: Policy) -> None:
    content = generate_sbom(materials(policy))
    assert generate_sbom(materials(policy)) == content
    assert is_of(content, materials(policy))
    other = replace(policy, origin=replace(policy.origin, licence="MIT"))
    assert not is_of(content, materials(other))
    for broken in (b"", b"{}", b"[]", b"\xff"):
        assert not is_of(broken, materials(policy))


@pytest.mark.parametrize(
    ("kind", "resolved", "pin", "purl"),
    [
        (Kind.FILE_PATH, "policies/sample", None, "pkg:generic/sample@v1.0.0"),
        (Kind.PIP_PACKAGE, "Acme.Limit==1.2", Pin("", "1.2"), "pkg:pypi/acme-limit@1.2"),
        (Kind.GO_MODULE, "example.com/a/limit@v1.2.0", Pin("", "v1.2.0"), "pkg:golang/example.com/a/limit@v1.2.0"),
        (Kind.PYTHON_MODULE, "github.com/org/repo/a/b@v1", Pin(""), "pkg:github/org/repo@v1#a/b"),
    ],
)
def test_a_policy_is_named_by_where_it_comes_from(
    policy: Policy, tmp_path: Path, kind: Kind, resolved: str, pin: Pin | None, purl: str
) -> None:
    fetched = replace(policy, origin=Origin(kind, resolved, resolved, tmp_path, "sample", pin=pin))
    assert components(generate_sbom(materials(fetched)))["policy sample:v1.0.0"]["purl"] == purl


def test_packages_are_those_installed_with_the_hashes_of_their_lock(tmp_path: Path) -> None:
    site = "lib/python3.11/site-packages"
    metadata = b"Metadata-Version: 2.4\nName: x\nLicense-Expression: MIT\n\n"
    write_tree({f"{site}/{name}.dist-info/METADATA": metadata for name in ("Acme_Limit-1.2", "b-1")}, tmp_path)
    lock = f"acme-limit==1.2 \\\n    --hash=sha256:{HASH} \\\n    --hash=sha256:{'b' * 64}\nother==1\n"
    assert installed_packages(tmp_path, lock) == (
        Package("acme-limit", "1.2", "MIT", (HASH, "b" * 64)),
        Package("b", "1", "MIT", ()),
    )
