"""sbom.cdx.json: a CycloneDX bill of materials of a build, made of what was really installed and compiled in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import NAMESPACE_URL, uuid5

from gatewright.definition import Runtime
from packaging.utils import canonicalize_name

from gatewright_builder.engine_record import MODULE, EngineRecord, GoModule
from gatewright_builder.fetching.licence import licence_of_package
from gatewright_builder.origin import Kind
from gatewright_builder.policy import Policy
from gatewright_builder.tree import text_digest

if TYPE_CHECKING:
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component
    from packageurl import PackageURL

SBOM = "sbom.cdx.json"
OURS = "gatewright.dev/"
LAYOUT = "1"  # raise it when the same materials are to be written otherwise
LOCKED = re.compile(r"^([A-Za-z0-9][\w.-]*)==([^\s;\\]+)")
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Package:
    """A Python package as it is installed: its name in normal form, and the hashes that its lock allows."""

    name: str
    version: str
    licence: str
    hashes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Materials:
    """All that a build is made of. packages: by group. module: the engine as a library for Envoy, if there is one."""

    policies: tuple[Policy, ...]
    packages: Mapping[str, tuple[Package, ...]]
    engine: EngineRecord
    module: EngineRecord | None = None

    @property
    def serial(self) -> str:
        """The same for the same materials, and for no others."""
        policies = [
            f"{policy.key} {policy.origin.resolved} {policy.source_digest} {policy.origin.licence}"
            for policy in self.policies
        ]
        packages = [f"{group} {package}" for group, some in sorted(self.packages.items()) for package in some]
        engines = [record.sha256 for record in (self.engine, self.module) if record]
        return uuid5(NAMESPACE_URL, text_digest(LAYOUT, *policies, *packages, *engines)).urn


def installed_packages(environment: Path, lock: str) -> tuple[Package, ...]:
    """What is in an environment, by name."""
    found, hashes = [], _locked_hashes(lock)
    for info in environment.glob("lib/python*/site-packages/*.dist-info"):
        name, _, version = info.name.removesuffix(".dist-info").partition("-")
        licence = licence_of_package((info / "METADATA").read_bytes())
        name = canonicalize_name(name)
        found.append(Package(name, version, licence, hashes.get((name, version), ())))
    return tuple(sorted(found, key=lambda package: package.name))


def _locked_hashes(lock: str) -> dict[tuple[str, str], tuple[str, ...]]:
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for entry in lock.replace("\\\n", " ").splitlines():
        if locked := LOCKED.match(entry):
            found[(canonicalize_name(locked[1]), locked[2])] = tuple(sorted(HASH.findall(entry)))
    return found


def is_of(content: bytes, materials: Materials) -> bool:
    """Whether an SBOM is of these materials."""
    try:
        return bool(json.loads(content)["serialNumber"] == materials.serial)
    except (ValueError, KeyError, TypeError):
        return False


def generate_sbom(materials: Materials) -> bytes:
    """The bill, as CycloneDX 1.6 JSON: without a time, so the same materials give the same bytes."""
    from cyclonedx.output.json import JsonV1Dot6  # here, because importing it takes longer than a whole small build

    document = json.loads(JsonV1Dot6(_bom(materials)).output_as_string())
    del document["metadata"]["timestamp"]
    document["serialNumber"] = materials.serial
    return (json.dumps(document, indent=2, ensure_ascii=False, sort_keys=True) + "\n").encode()


def _bom(materials: Materials) -> Bom:
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType

    bom = Bom()
    bom.metadata.component = Component(name="gatewright-build", type=ComponentType.APPLICATION, bom_ref="build")
    engine = _component("policy-engine", "", "", ref="engine", hashes=(materials.engine.sha256,))
    engines = [engine]
    if materials.module:
        engines.append(_component(MODULE.file, "", "", ref="engine-module", hashes=(materials.module.sha256,)))
    modules = [_go_module(module) for module in materials.engine.modules if not module.path.startswith(OURS)]
    policies = [_policy(policy) for policy in materials.policies]
    packages = _packages(materials.packages)
    bom.components.update([*engines, *modules, *policies, *packages])
    bom.register_dependency(bom.metadata.component, [*engines, *policies, *packages])
    for compiled in engines:
        bom.register_dependency(compiled, modules)
    return bom


def _policy(policy: Policy) -> Component:
    properties = {"sourceDigest": policy.source_digest, "source": policy.origin.resolved, "runtime": policy.runtime}
    if policy.runtime is Runtime.PYTHON:
        properties["group"] = policy.group
    ref = f"policy {policy.key}"
    return _component(
        policy.name, policy.version, policy.origin.licence, ref=ref, url=_policy_url(policy), properties=properties
    )


def _policy_url(policy: Policy) -> PackageURL:
    from packageurl import PackageURL

    resolved, version = re.split("==|@", policy.origin.resolved)[0], policy.origin.pin
    match policy.origin.kind:
        case Kind.PIP_PACKAGE if version:
            return PackageURL("pypi", None, canonicalize_name(resolved), version.version)
        case Kind.GO_MODULE if version:
            return _go_url(resolved, version.version)
        case Kind.PYTHON_MODULE:
            _, organisation, repository, *folder = resolved.split("/")
            ref = policy.origin.resolved.split("@", 1)[1]
            return PackageURL("github", organisation, repository, ref, subpath="/".join(folder) or None)
        case _:
            return PackageURL("generic", None, policy.name, policy.version)


def _go_url(path: str, version: str) -> PackageURL:
    from packageurl import PackageURL

    namespace, _, name = path.rpartition("/")
    return PackageURL("golang", namespace or None, name, version)


def _go_module(module: GoModule) -> Component:
    properties = {"goSum": module.sum} if module.sum else {}
    url = _go_url(module.path, module.version)
    return _component(module.path, module.version, "", ref=str(url), url=url, properties=properties)


def _packages(groups: Mapping[str, tuple[Package, ...]]) -> list[Component]:
    from packageurl import PackageURL

    used: dict[Package, list[str]] = {}
    for group, packages in sorted(groups.items()):
        for package in packages:
            used.setdefault(package, []).append(group)
    return [
        _package(package, PackageURL("pypi", None, package.name, package.version), names)
        for package, names in used.items()
    ]


def _package(package: Package, url: PackageURL, groups: list[str]) -> Component:
    ref, properties = f"pypi {package.name}@{package.version}", {"group": " ".join(groups)}
    return _component(
        package.name, package.version, package.licence, ref=ref, url=url, hashes=package.hashes, properties=properties
    )


def _component(
    name: str, version: str, licence: str, *, ref: str, url: PackageURL | None = None,
    hashes: Iterable[str] = (), properties: Mapping[str, str] | None = None,
) -> Component:  # fmt: skip
    from cyclonedx.contrib.license.factories import LicenseFactory
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.component import Component, ComponentType

    return Component(
        name=name,
        version=version or None,
        type=ComponentType.LIBRARY,
        bom_ref=ref,
        purl=url,
        licenses=[LicenseFactory().make_from_string(licence)] if licence else [],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=content) for content in hashes],
        properties=[Property(name=f"gatewright:{key}", value=value) for key, value in (properties or {}).items()],
    )
