from __future__ import annotations

import re
from typing import Any

import pytest
from gatewright.access import Access, union
from gatewright.definition import DefinitionError, PolicyDefinition

GOOD: dict[str, Any] = {
    "name": "limit", "version": "v1.0.0", "runtime": "python", "processingMode": {"requestHeaderMode": "PROCESS"},
}  # fmt: skip


def access(**fields: object) -> Access:
    return PolicyDefinition.from_document({**GOOD, **fields}).access


def test_by_default_no_files_and_the_whole_network() -> None:
    assert access() == Access(read=(), write=(), network=("any",))


def test_what_is_asked_for() -> None:
    files = {"read": ["/etc/geo.mmdb", "/srv/state"], "write": ["/srv/state"]}
    assert access(files=files, network=["unix", "id.internal:443", "[::1]:53"]) == Access(
        read=("/etc/geo.mmdb",), write=("/srv/state",), network=("[::1]:53", "id.internal:443", "unix")
    )
    assert access(network="none").network == ()
    assert access(network="any").network == ("any",)


def test_a_process_reaches_what_any_of_its_policies_asks_for() -> None:
    first, second = Access(read=("/a",), network=("a:1", "unix")), Access(write=("/a",), network=())
    assert union([first, second]) == Access(write=("/a",), network=("a:1", "unix"))
    assert union([first, second, Access()]).network == ("any", "unix")


WHERE = "an absolute path without . and .., and not / or below /proc"
WHERE_TO = "any, none, or a list of HOST:PORT, any or unix"


@pytest.mark.parametrize(("fields", "sentence"), [
    ({"files": ["/a"]}, "files: expected read and write, each with a list of paths, got ['/a']"),
    ({"files": {"reads": ["/a"]}}, "files.reads: expected one of read, write, got 'reads'"),
    ({"files": {"read": "/a"}}, "files.read: expected a list of paths, got '/a'"),
    ({"files": {"read": ["/ok", "a"]}}, f"files.read.1: expected {WHERE}, got 'a'"),
    ({"network": "all"}, f"network: expected {WHERE_TO}, got 'all'"),
    ({"network": []}, f"network: expected {WHERE_TO}, got []"),
    ({"runtime": "go", "network": "any"}, "network: expected none for a Go policy: it runs in the engine"),
    ({"runtime": "go", "files": {}}, "files: expected none for a Go policy: it runs in the engine"),
])  # fmt: skip
def test_what_cannot_be_asked_for(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DefinitionError, match=re.escape(sentence)):
        access(**fields)


@pytest.mark.parametrize("path", ["/", "/a/../b", "/./a", "/a/", "//a", "/proc/1/mem", "/a\0", 7])
def test_no_path(path: object) -> None:
    with pytest.raises(DefinitionError, match=re.escape(f"files.write.0: expected {WHERE}")):
        access(files={"write": [path]})


@pytest.mark.parametrize("entry", ["none", "a", "a:0", "a:65536", "http://a:1", ":1", "-a:1", "a b:1", 1])
def test_no_address(entry: object) -> None:
    with pytest.raises(DefinitionError, match=r"network\.0: expected HOST:PORT, any or unix"):
        access(network=[entry])


def test_all_of_its_mistakes_at_once() -> None:
    with pytest.raises(DefinitionError) as caught:
        access(files={"read": ["a", "b"]}, network=["c"])
    assert len(caught.value.mistakes) == 3
