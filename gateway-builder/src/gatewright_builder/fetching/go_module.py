"""gomodule: a module at a version, as the go command finds it; or the local folder that stands in for it."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from gatewright_builder.events import Step
from gatewright_builder.fetching.go_command import go
from gatewright_builder.fetching.licence import licence_of_folder
from gatewright_builder.fetching.retry import PassingError, persistently
from gatewright_builder.fetching.source_request import CHANGED, Search
from gatewright_builder.go_source import collect_go_source_files
from gatewright_builder.origin import Kind, Origin, Pin
from gatewright_builder.tree import tree_digest

PASSING = re.compile(r"dial tcp|connection re|i/o timeout|TLS handshake|unexpected EOF|: 5\d\d |: 429 ")
CURE = "check the module and its version; GOPROXY and GOPRIVATE say where it comes from"


class Module(msgspec.Struct, frozen=True, rename="pascal"):
    """What `go mod download -json` says, as far as it is wanted."""

    path: str = ""
    version: str = ""
    dir: str = ""
    sum: str = ""
    error: str = ""


def find_go_module(search: Search) -> Origin:
    """From Go's own cache, or from where GOPROXY says. Raises BuildError."""
    entry = search.entry
    if entry.replace:
        folder = (search.manifest.folder / entry.replace).resolve()
        shown = search.manifest.shown(folder)
        return Origin(Kind.GO_MODULE, entry.source, entry.replace, folder, shown, licence_of_folder(folder))
    module = _module(search)
    resolved, folder = f"{module.path}@{module.version}", Path(module.dir)
    if search.pin and search.pin.sum != module.sum:
        raise search.error(f"{resolved} with the sum {search.pin.sum}, as build.lock has it", module.sum, CHANGED)
    pin = Pin(tree_digest(collect_go_source_files(folder)), module.version, module.sum)
    search.verify(pin.digest)
    return Origin(Kind.GO_MODULE, entry.source, resolved, folder, resolved, licence_of_folder(folder), pin=pin)


def _module(search: Search) -> Module:
    path, _, query = search.entry.source.partition("@")
    version = search.pin.version if search.pin else query
    if not search.pin:
        search.say(Step(f"fetching {search.name}"))
    try:
        return persistently(lambda: _download(search, f"{path}@{version}"))
    except PassingError as error:
        raise search.error(f"the module {search.name}", str(error), CURE) from error


def _download(search: Search, query: str) -> Module:
    done = go("mod", "download", "-json", query)
    try:
        module = msgspec.json.decode(done.stdout, type=Module)
    except msgspec.DecodeError:
        module = Module(error=done.stderr)
    if done.returncode == 0 and not module.error:
        return module
    got = " ".join((module.error or done.stderr).split())
    if PASSING.search(got):
        raise PassingError(got)
    raise search.error(f"the module {search.name}", got, CURE)
