"""gomodule: a module at a version, as the go command finds it; or the local folder that stands in for it."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from gatewright_builder.events import Step
from gatewright_builder.fetching.go_command import go
from gatewright_builder.fetching.licence import licence_of_folder
from gatewright_builder.fetching.retry import TransientError, retry
from gatewright_builder.fetching.source_request import CHANGED, SourceRequest
from gatewright_builder.origin import Kind, Origin, Pin
from gatewright_builder.source_files import collect_go_source_files
from gatewright_builder.tree import tree_digest

TRANSIENT = re.compile(r"dial tcp|connection re|i/o timeout|TLS handshake|unexpected EOF|: 5\d\d |: 429 ")
CURE = "check the module and its version; GOPROXY and GOPRIVATE say where it comes from"


class Module(msgspec.Struct, frozen=True, rename="pascal"):
    """What `go mod download -json` says, as far as it is wanted."""

    path: str = ""
    version: str = ""
    dir: str = ""
    sum: str = ""
    error: str = ""


def find_go_module(request: SourceRequest) -> Origin:
    """From Go's own cache, or from where GOPROXY says. Raises BuildError."""
    entry = request.entry
    if entry.replace:
        folder = (request.manifest.folder / entry.replace).resolve()
        shown = request.manifest.shown(folder)
        return Origin(Kind.GO_MODULE, entry.source, entry.replace, folder, shown, licence_of_folder(folder))
    module = _module(request)
    resolved, folder = f"{module.path}@{module.version}", Path(module.dir)
    if request.pin and request.pin.sum != module.sum:
        raise request.error(f"{resolved} with the sum {request.pin.sum}, as build.lock has it", module.sum, CHANGED)
    pin = Pin(tree_digest(collect_go_source_files(folder)), module.version, module.sum)
    request.verify(pin.digest)
    return Origin(Kind.GO_MODULE, entry.source, resolved, folder, resolved, licence_of_folder(folder), pin=pin)


def _module(request: SourceRequest) -> Module:
    path, _, query = request.entry.source.partition("@")
    version = request.pin.version if request.pin else query
    if not request.pin:
        request.say(Step(f"fetching {request.name}"))
    try:
        return retry(lambda: _download(request, f"{path}@{version}"), request.limits.pauses)
    except TransientError as error:
        raise request.error(f"the module {request.name}", str(error), CURE) from error


def _download(request: SourceRequest, query: str) -> Module:
    done = go("mod", "download", "-json", query)
    try:
        module = msgspec.json.decode(done.stdout, type=Module)
    except msgspec.DecodeError:
        module = Module(error=done.stderr)
    if done.returncode == 0 and not module.error:
        return module
    got = " ".join((module.error or done.stderr).split())
    if TRANSIENT.search(got):
        raise TransientError(got)
    raise request.error(f"the module {request.name}", got, CURE)
