"""API definitions on disk, as far as deploying them needs to know. The controller validates them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import yaml

from gatewright_cli.ports import join_address

SUFFIXES = (".yaml", ".yml", ".json")
READING = ("GET", "HEAD")
Stamp = tuple[int, int, int] | None
"""What changes when a file is saved (time, size, inode); None where there is no file."""
PARAMETER = re.compile(r"\{[^}/]+\}|\*+")


class ApiFileError(Exception):
    """Files that hold no API; `mistakes` has one sentence for each."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes


class Mistake(msgspec.Struct, frozen=True):
    """What is wrong with a file. line: from 1; 0 where it is not known."""

    message: str
    field: str = ""
    line: int = 0

    def __str__(self) -> str:
        """What goes behind the name of the file."""
        return (f":{self.line}" if self.line else "") + (f": {self.field}" if self.field else "") + f": {self.message}"


@dataclass(frozen=True)
class ApiFile:
    """One API as it is on disk.

    upstreams: the URLs that it names. sample: (method, path) of a request that only reads, if it has one.
    stamp: of the file when it was read.
    """

    path: Path
    name: str
    content: bytes
    upstreams: tuple[str, ...] = ()
    sample: tuple[str, str] | None = None
    stamp: Stamp = None

    def is_at(self, address: str | None) -> bool:
        """Whether one of its upstreams is at HOST:PORT."""
        return address in {join_address(*found) for url in self.upstreams if (found := http_address(url))}


@dataclass(frozen=True)
class RefusedFile:
    """A file whose API cannot be deployed before somebody changes something.

    api: its name, where that can be read. stamp: of the file when it was read.
    """

    path: Path
    mistakes: tuple[Mistake, ...]
    api: str = ""
    stamp: Stamp = None

    @property
    def sentences(self) -> list[str]:
        return [f"{self.path}{mistake}" for mistake in self.mistakes]


@dataclass(frozen=True)
class ApiFiles:
    """What `--apis` names: the APIs to deploy, and the files that hold none."""

    apis: tuple[ApiFile, ...] = ()
    refused: tuple[RefusedFile, ...] = ()

    def map(self, change: Callable[[ApiFile], ApiFile]) -> ApiFiles:
        return replace(self, apis=tuple(change(api) for api in self.apis))


def load(place: Path) -> ApiFiles:
    """The API in a file, or those in a folder's .yaml, .yml and .json files, in order of their names.

    Raises ApiFileError where there is no such file or folder, or none in it.
    """
    try:
        files = sorted(file for file in place.iterdir() if file.suffix in SUFFIXES) if place.is_dir() else [place]
    except OSError as error:
        raise ApiFileError([f"{place}: {error.strerror}"]) from error
    if not files:
        raise ApiFileError([f"{place}: expected at least one .yaml or .json file, got none"])
    if files == [place] and not place.exists():
        raise ApiFileError([f"{place}: No such file or directory"])
    return _each_name_once(read(file) for file in files)


def read(file: Path) -> ApiFile | RefusedFile:
    """The file's API, or what is wrong with the file."""
    seen = stamp(file)
    try:
        return replace(_parsed(file, file.read_bytes()), stamp=seen)
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        return RefusedFile(file, (_mistake(error),), stamp=seen)


def stamp(file: Path) -> Stamp:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _mistake(error: Exception) -> Mistake:
    if isinstance(error, OSError):
        return Mistake(error.strerror or repr(error))
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        said = ": ".join(part for part in (error.context, error.problem) if part)
        return Mistake(f"not YAML: {said}", line=error.problem_mark.line + 1)
    return Mistake(" ".join(str(error).split()))


def moved(api: ApiFile, hosts: Iterable[str], old: int, new: int) -> ApiFile:
    """The API with the upstreams at one of these hosts and the port `old` at `new`; lines stay where they are."""
    address = "|".join(map(re.escape, hosts))
    pattern = re.compile(rf"(http://(?:{address}):){old}(?!\d)")
    upstreams = tuple(pattern.sub(rf"\g<1>{new}", url) for url in api.upstreams)
    content = re.sub(pattern.pattern.encode(), rb"\g<1>%d" % new, api.content)
    return replace(api, content=content, upstreams=upstreams)


def http_address(url: str) -> tuple[str, int] | None:
    """Host and port that an http URL names; None for any other."""
    try:
        parts = urlsplit(url)
        return (parts.hostname or "", parts.port or 80) if parts.scheme == "http" else None
    except ValueError:
        return None


def _each_name_once(files: Iterable[ApiFile | RefusedFile]) -> ApiFiles:
    apis: dict[str, ApiFile] = {}
    refused: list[RefusedFile] = []
    for file in files:
        if isinstance(file, RefusedFile):
            refused.append(file)
        elif (first := apis.setdefault(file.name, file)) is not file:
            refused.append(name_taken(file, first.path))
    return ApiFiles(tuple(apis.values()), tuple(refused))


def name_taken(file: ApiFile, by: Path) -> RefusedFile:
    """Of a file whose API has the name of another file's."""
    mistake = Mistake(f"{by} has an API {file.name!r} already: give it another name", "metadata.name")
    return RefusedFile(file.path, (mistake,), file.name, file.stamp)


def _parsed(file: Path, content: bytes) -> ApiFile:
    document = yaml.safe_load(content)
    if not isinstance(document, dict) or document.get("kind") != "Api":
        raise ValueError("expected one document with `kind: Api`")
    name = _within(document, "metadata").get("name")
    if not isinstance(name, str):
        raise ValueError(f"expected a string at metadata.name, got {name!r}")
    spec = _within(document, "spec")
    return ApiFile(file, name, content, tuple(_upstreams(spec)), _sample(spec))


def _within(document: dict[object, object], key: str) -> dict[object, object]:
    value = document.get(key)
    if not isinstance(value, dict):
        raise ValueError(f"expected an object at {key}, got {value!r}")
    return value


def _upstreams(spec: dict[object, object]) -> list[str]:
    named = spec.get("upstream")
    listed = [each for each in named.values() if isinstance(each, dict)] if isinstance(named, dict) else []
    return [url for each in listed if isinstance(url := each.get("url"), str)]


def _sample(spec: dict[object, object]) -> tuple[str, str] | None:
    """The first operation that only reads, one without path parameters before one with."""
    context = str(spec.get("context", "")).replace("$version", str(spec.get("version", ""))).rstrip("/")
    operations = spec.get("operations")
    listed = [o for o in operations if isinstance(o, dict)] if isinstance(operations, list) else []
    reading = [(str(o["method"]), context + str(o.get("path", "/"))) for o in listed if o.get("method") in READING]
    reading.sort(key=lambda operation: "{" in operation[1])
    return (reading[0][0], PARAMETER.sub("try", reading[0][1]) or "/") if reading else None
