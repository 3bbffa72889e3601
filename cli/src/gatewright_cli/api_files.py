"""API definitions on disk, as far as a run reads them to deploy them. The controller validates them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from gatewright_controller import API_DOCUMENT
from gatewright_documents.json_reader import line_tree, parse_json
from gatewright_documents.mistake import Invalid, Mistake, shown
from gatewright_documents.values import JsonValue
from gatewright_documents.yaml_documents import split_documents
from gatewright_documents.yaml_reader import parse_yaml

from gatewright_cli.addresses import http_address, join_address

SUFFIXES = (".yaml", ".yml", ".json")
READING = ("GET", "HEAD")
Stamp = tuple[int, int, int] | None
"""Time, size and inode, which change when a file is saved; None for no file."""
PARAMETER = re.compile(r"\{[^}/]+\}|\*+")


class ApiFileError(Exception):
    """Files that hold no API; `mistakes` has one sentence for each."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes


class Sample(NamedTuple):
    """A request that only reads. host: its Host header; "" if any host is served."""

    method: str
    path: str
    host: str = ""

    def command(self, url: str) -> str:
        """A curl command for people to try at the node's URL."""
        host = f"-H 'Host: {self.host}' " if self.host else ""
        return f"curl {'-I' if self.method == 'HEAD' else '-i'} {host}{url}{self.path}"


@dataclass(frozen=True)
class ApiFile:
    """One API as it is on disk.

    content: its document, which begins after `above` lines of the file. upstreams: the URLs that it names. sample: a
    request that only reads, if it has one. stamp: the file's when it was read.
    """

    path: Path
    name: str
    content: bytes
    upstreams: tuple[str, ...] = ()
    sample: Sample | None = None
    stamp: Stamp = None
    above: int = 0

    def is_at(self, address: str | None) -> bool:
        """Whether one of its upstreams is at HOST:PORT."""
        return address in {join_address(*place) for url in self.upstreams if (place := http_address(url))}


@dataclass(frozen=True)
class RefusedFile:
    """A file, or one of its documents, whose API cannot be deployed as it is.

    api: its name, if that is readable. stamp: the file's when it was read. above: lines of the file before it.
    """

    path: Path
    mistakes: tuple[Mistake, ...]
    api: str = ""
    stamp: Stamp = None
    above: int = 0

    @property
    def sentences(self) -> list[str]:
        """A sentence for each mistake, with file and line: apis/hello.yaml:3: metadata.name: ..."""
        return [str(replace(mistake, file=str(self.path))) for mistake in self.mistakes]


@dataclass(frozen=True)
class ApiFiles:
    """What `--apis` names: the APIs to deploy, and the files that hold none."""

    apis: tuple[ApiFile, ...] = ()
    refused: tuple[RefusedFile, ...] = ()

    def map(self, change: Callable[[ApiFile], ApiFile]) -> ApiFiles:
        """The same files with `change` applied to each API; refused files stay."""
        return replace(self, apis=tuple(change(api) for api in self.apis))


def load(place: Path) -> ApiFiles:
    """The APIs in a file, or those in a folder's .yaml, .yml and .json files, in order of their names.

    A folder may have none, since the management API publishes too.

    Raises ApiFileError if there is no such file or folder.
    """
    return refuse_duplicates(document for file in files_in(place) for document in read(file))


def files_in(place: Path) -> list[Path]:
    """The file itself, or the files of a folder that may hold APIs; maybe none. Raises as `load` does."""
    try:
        files = sorted(file for file in place.iterdir() if file.suffix in SUFFIXES) if place.is_dir() else [place]
    except OSError as error:
        raise ApiFileError([f"{place}: {error.strerror}"]) from error
    if files == [place] and not place.exists():
        raise ApiFileError([f"{place}: No such file or directory"])
    return files


def read(file: Path) -> list[ApiFile | RefusedFile]:
    """Each document of the file, as an API or refused; at least one."""
    file_stamp = stamp(file)
    try:
        content = file.read_bytes()
    except OSError as error:
        return [RefusedFile(file, (Mistake("", error.strerror or repr(error)),), stamp=file_stamp)]
    return [replace(document, stamp=file_stamp) for document in documents(file, content)]


def documents(file: Path, content: bytes) -> list[ApiFile | RefusedFile]:
    """Each document of the file's content, as `read` returns them."""
    parts = [(0, content)] if file.suffix == ".json" else split_documents(content)
    return [_document(file, above, part) for above, part in parts]


def unread_documents(file: Path, content: bytes) -> list[ApiFile]:
    """Each document of the file's content, whatever it says: without a name, for a controller that reads it. Raises
    ApiFileError for bytes that are not UTF-8."""
    try:
        content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = content[error.start]
        raise ApiFileError([f"{file}:{line}: expected UTF-8, got the byte 0x{byte:02X}; save it as UTF-8"]) from None
    parts = [(0, content)] if file.suffix == ".json" else split_documents(content)
    return [ApiFile(file, "", part, above=above) for above, part in parts]


def _document(file: Path, above: int, content: bytes) -> ApiFile | RefusedFile:
    try:
        return replace(_parse(file, content), above=above)
    except Invalid as invalid:
        return RefusedFile(file, tuple(below(mistake, above) for mistake in invalid.mistakes), above=above)


def below(mistake: Mistake, above: int) -> Mistake:
    """The mistake in a document that begins after `above` lines of its file, with its line in the file."""
    return replace(mistake, line=mistake.line + above) if mistake.line else mistake


def stamp(file: Path) -> Stamp:
    """The stamp of the file as it is now."""
    try:
        stat = file.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def move_upstreams(api: ApiFile, hosts: Iterable[str], old: int, new: int) -> ApiFile:
    """The API with upstreams at one of these hosts moved from port `old` to `new`; lines stay the same."""
    address = "|".join(map(re.escape, hosts))
    pattern = re.compile(rf"(http://(?:{address}):){old}(?!\d)")
    upstreams = tuple(pattern.sub(rf"\g<1>{new}", url) for url in api.upstreams)
    content = re.sub(pattern.pattern.encode(), rb"\g<1>%d" % new, api.content)
    return replace(api, content=content, upstreams=upstreams)


def refuse_duplicates(files: Iterable[ApiFile | RefusedFile]) -> ApiFiles:
    """The APIs and refused files, with an API refused if an earlier one has its name."""
    apis: dict[str, ApiFile] = {}
    refused: list[RefusedFile] = []
    for file in files:
        if isinstance(file, RefusedFile):
            refused.append(file)
        elif (first := apis.setdefault(file.name, file)) is not file:
            refused.append(name_taken(file, first.path))
    return ApiFiles(tuple(apis.values()), tuple(refused))


def name_taken(file: ApiFile, by: Path) -> RefusedFile:
    """The refusal of a file whose API has the name of an API in the file `by`."""
    mistake = Mistake("metadata.name", f"{by} has an API {file.name!r} already: give it another name", file.above + 1)
    return RefusedFile(file.path, (mistake,), file.name, file.stamp, file.above)


def _parse(file: Path, content: bytes) -> ApiFile:
    """Raises Invalid."""
    document = (parse_json if file.suffix == ".json" else parse_yaml)(content, API_DOCUMENT)
    metadata, spec = document.get("metadata"), document.get("spec")
    fields = spec if isinstance(spec, dict) else {}
    name = metadata.get("name") if isinstance(metadata, dict) else None
    wrong = [
        Mistake("metadata.name", f"expected a string, got {_got(name)}") if not isinstance(name, str) else None,
        Mistake("spec", f"expected an object, got {_got(spec)}") if not isinstance(spec, dict) else None,
    ]
    if (kind := document.get("kind")) != "Api":  # then other mistakes do not apply
        wrong = [Mistake("kind", f"expected 'Api', got {_got(kind)}; write `kind: Api` where it is one")]
    if mistakes := [mistake for mistake in wrong if mistake]:
        raise Invalid(mistakes).located(line_tree(content).line_of)
    return ApiFile(file, str(name), content, tuple(_upstreams(fields)), _sample(fields))


def _got(value: JsonValue) -> str:
    return "nothing" if value is None else shown(value)


def _upstreams(spec: dict[str, Any]) -> list[str]:
    upstream = spec.get("upstream")
    pools = [pool for pool in upstream.values() if isinstance(pool, dict)] if isinstance(upstream, dict) else []
    targets = [target for pool in pools if isinstance(listed := pool.get("targets"), list) for target in listed]
    urls = [place.get("url") for place in (*pools, *targets) if isinstance(place, dict)]
    return [url for url in urls if isinstance(url, str)]


def _sample(spec: dict[str, Any]) -> Sample | None:
    """A request to the first operation that only reads and needs no header or query parameter; preferably one without
    path parameters.
    """
    context = str(spec.get("context", "")).replace("$version", str(spec.get("version", ""))).rstrip("/")
    operations = spec.get("operations")
    listed = [o for o in operations if isinstance(o, dict)] if isinstance(operations, list) else []
    plain = [o for o in listed if o.get("method") in READING and not o.get("headers") and not o.get("query")]
    reading = [(str(o["method"]), context + str(o.get("path", "/"))) for o in plain]
    reading.sort(key=lambda operation: "{" in operation[1])
    if not reading:
        return None
    return Sample(reading[0][0], PARAMETER.sub("try", reading[0][1]) or "/", _host(spec.get("hosts")))


def _host(hosts: object) -> str:
    """A host that the API is served on; for a wildcard, one below it."""
    named = [host for host in hosts if isinstance(host, str)] if isinstance(hosts, list) else []
    named.sort(key=lambda host: host.startswith("*"))
    return named[0].replace("*", "try", 1) if named else ""
