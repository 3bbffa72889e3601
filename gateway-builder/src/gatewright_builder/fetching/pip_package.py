"""pipPackage: a policy inside a Python package; its folder is the one that has the definition.

Wheels only: what builds a source distribution may be anything, and it would run here.
"""

from __future__ import annotations

import sys
from email import message_from_bytes
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from gatewright_builder.author_file import read_author_file
from gatewright_builder.events import Step
from gatewright_builder.fetching.licence import licence_of_package
from gatewright_builder.fetching.source_request import SourceRequest
from gatewright_builder.fetching.uv_command import UvError, uv
from gatewright_builder.mistake import BuildError
from gatewright_builder.origin import Kind, Origin, Pin
from gatewright_builder.sources import DEFINITION_FILE
from gatewright_builder.tree import Tree, below, read_tree, tree_digest

METADATA = "METADATA"
POLICY_FOLDER = "policy"
WHEELS_ONLY = ("--only-binary", ":all:", "--no-deps")
INDEX_CURE = (
    "check its name and versions, and the package index in the environment (UV_DEFAULT_INDEX): it must have a wheel"
)


def find_pip_package(request: SourceRequest) -> Origin:
    """From the cache where build.lock says what it is to be, else by uv. Raises BuildError.

    The cache holds METADATA and, as policy/, the one folder of the package that is this policy.
    """
    pin = request.pin
    folder = request.cache.tree(pin.digest) if pin else None
    if folder is None or pin is None:
        folder, pin = _fetched(request)
    metadata = (folder / METADATA).read_bytes()
    resolved = f"{Requirement(request.entry.source).name}=={pin.version}"
    return Origin(
        Kind.PIP_PACKAGE, request.entry.source, resolved, folder / POLICY_FOLDER, resolved,
        licence_of_package(metadata), _requires(metadata), METADATA, pin,
    )  # fmt: skip


def _requires(metadata: bytes) -> tuple[str, ...]:
    """What the package asks for, without its extras."""
    asked = [Requirement(str(text)) for text in message_from_bytes(metadata).get_all("Requires-Dist", [])]
    return tuple(
        str(requirement)
        for requirement in asked
        if requirement.marker is None or "extra" not in str(requirement.marker)
    )


def _fetched(request: SourceRequest) -> tuple[Path, Pin]:
    request.say(Step(f"fetching {request.name}"))
    with request.cache.scratch() as scratch:
        try:
            version = _install(request, Path(scratch))
        except UvError as error:
            raise request.error(f"a package {request.name}", str(error), INDEX_CURE) from error
        tree = _policy_tree(request, Path(scratch))
    pin = Pin(tree_digest(tree), version)
    request.verify(pin.digest)
    return request.cache.keep(tree), pin


def _install(request: SourceRequest, folder: Path) -> str:
    """Puts the package into folder; answers its version."""
    name = Requirement(request.entry.source).name
    wanted = f"{name}=={request.pin.version}" if request.pin else request.entry.source
    uv("pip", "install", *WHEELS_ONLY, "--python", sys.executable, "--target", folder, wanted)
    return _info(folder, name).name.removesuffix(".dist-info").partition("-")[2]


def _info(site: Path, name: str) -> Path:
    infos = site.glob("*.dist-info")
    return next(path for path in infos if canonicalize_name(path.name.split("-")[0]) == canonicalize_name(name))


def _policy_tree(request: SourceRequest, site: Path) -> Tree:
    info = _info(site, Requirement(request.entry.source).name)
    folders = [path.parent for path in sorted(site.rglob(DEFINITION_FILE)) if path.is_file()]
    mine = folders if len(folders) == 1 else [folder for folder in folders if _name_in(folder) == request.entry.name]
    if len(mine) != 1:
        got = ", ".join(str(folder.relative_to(site)) for folder in folders) or "none"
        expected = f"one folder in {request.name} with the {DEFINITION_FILE} of {request.entry.name}"
        raise request.error(expected, got, f"put {DEFINITION_FILE} and policy.py into one module folder of the package")
    links = [path for path in mine[0].rglob("*") if path.is_symlink()]
    if links:
        raise request.error("plain files in a policy's folder", f"{links[0].name} (a link)", "use none of it")
    return {METADATA: (info / METADATA).read_bytes()} | below(POLICY_FOLDER, read_tree(mine[0]))


def _name_in(folder: Path) -> str:
    try:
        value = read_author_file(folder / DEFINITION_FILE, DEFINITION_FILE).value
    except BuildError:
        return ""
    return str(value.get("name")) if isinstance(value, dict) else ""
