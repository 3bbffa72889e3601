"""`files` and `network` of a definition: the files and addresses that a Python policy may reach beyond the defaults."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

ANY, NONE, UNIX = "any", "none", "unix"
FILE_KINDS = ("read", "write")
PATH = "an absolute path without . and .., and not / or below /proc"
OF_GO = "none for a Go policy: it runs in the engine, where nothing could hold it to that"
ENTRY = "HOST:PORT, any or unix"
PATH_PATTERN = r"^(?!/proc(/|$))(/(?!\.{1,2}(/|$))[^/\x00]+)+$"
HOST_PORT_PATTERN = r"^(?:[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]+\]):([1-9][0-9]{0,4})$"


@dataclass(frozen=True, slots=True)
class Access:
    """The access of one policy, or of all policies of a process together.

    read, write: files, and folders with all that is below them; write access includes read access. network: "any" is
    every address, "HOST:PORT" is TCP to that port, "unix" is Unix sockets; empty: nothing. Each is sorted, without
    repetitions.
    """

    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    network: tuple[str, ...] = (ANY,)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Access:
        """The access that a valid definition asks for."""
        files, network = document.get("files", {}), document.get("network", ANY)
        if isinstance(network, str):
            network = [] if network == NONE else [network]
        return union([cls(tuple(files.get("read", ())), tuple(files.get("write", ())), tuple(network))])


def union(accesses: Iterable[Access]) -> Access:
    """The access of a process that runs all the policies of `accesses`."""
    members = list(accesses)
    write = {path for access in members for path in access.write}
    read = {path for access in members for path in access.read} - write
    network = {entry for access in members for entry in access.network}
    if ANY in network:
        network &= {ANY, UNIX}
    return Access(tuple(sorted(read)), tuple(sorted(write)), tuple(sorted(network)))


def is_path(value: object) -> bool:
    """Whether the value can be an entry of `files`."""
    return isinstance(value, str) and re.fullmatch(PATH_PATTERN, value) is not None


def is_network_entry(value: object) -> bool:
    """Whether the value can be an entry of `network`."""
    if value in (ANY, UNIX):
        return True
    match = re.fullmatch(HOST_PORT_PATTERN, value) if isinstance(value, str) else None
    return match is not None and int(match[1]) < 1 << 16


def access_mistakes(document: Mapping[Any, Any]) -> Iterator[tuple[tuple[str | int, ...], str, object]]:
    """For each mistake: the path in the document, the expected value, the value that is there."""
    for key in ("files", "network"):
        if key in document and document.get("runtime") == "go":
            yield (key,), OF_GO, document[key]
    yield from _file_mistakes(document.get("files", {}))
    network = document.get("network", ANY)
    if isinstance(network, list) and network:
        wrong = [(index, entry) for index, entry in enumerate(network) if not is_network_entry(entry)]
        yield from ((("network", index), ENTRY, entry) for index, entry in wrong)
    elif network not in (ANY, NONE):
        yield ("network",), f"any, none, or a list of {ENTRY}", network


def _file_mistakes(files: object) -> Iterator[tuple[tuple[str | int, ...], str, object]]:
    if not isinstance(files, Mapping):
        yield ("files",), "read and write, each with a list of paths", files
        return
    for kind, paths in files.items():
        if kind not in FILE_KINDS:
            yield ("files", kind), f"one of {', '.join(FILE_KINDS)}", kind
        elif not isinstance(paths, list):
            yield ("files", kind), "a list of paths", paths
        else:
            wrong = [(index, path) for index, path in enumerate(paths) if not is_path(path)]
            yield from ((("files", kind, index), PATH, path) for index, path in wrong)
