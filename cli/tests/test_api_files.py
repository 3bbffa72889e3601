from __future__ import annotations

from pathlib import Path

import pytest
from gatewright_cli.api_files import (
    ApiFile,
    ApiFileError,
    ApiFiles,
    RefusedFile,
    load,
    move_upstreams,
    read,
    stamp,
)

API = """
kind: Api
metadata: {name: orders-v1}
spec:
  version: v1.0
  context: /orders/$version
  upstream: {main: {url: UPSTREAM}, other: {url: https://orders.internal/api}}
  operations: OPERATIONS
"""


def api(tmp_path: Path, operations: str = "[]", upstream: str = "http://127.0.0.1:9091") -> ApiFile:
    (tmp_path / "a.yaml").write_text(API.replace("OPERATIONS", operations).replace("UPSTREAM", upstream))
    (found,) = read(tmp_path / "a.yaml")
    assert isinstance(found, ApiFile), found
    return found


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        ("[{method: POST, path: /}, {method: GET, path: '/{id}'}]", ("GET", "/orders/v1.0/try")),
        ("[{method: GET, path: '/{id}'}, {method: HEAD, path: /all}]", ("HEAD", "/orders/v1.0/all")),
        ("[{method: GET, path: /files/*}]", ("GET", "/orders/v1.0/files/try")),
        ("[{method: GET, path: /, query: [{name: a, exact: b}]}]", None),
        ("[{method: DELETE, path: /}]", None),
        ("[]", None),
        ("nonsense", None),
    ],
)
def test_the_request_to_try_changes_nothing(tmp_path: Path, operations: str, expected: tuple[str, str] | None) -> None:
    found = api(tmp_path, operations).sample
    assert (found and found[:2]) == expected


@pytest.mark.parametrize(
    ("hosts", "command"),
    [
        ("[shop.example, other.example]", "curl -i -H 'Host: shop.example' http://localhost:8080/orders/v1.0/all"),
        ("['*.shop.example']", "curl -i -H 'Host: try.shop.example' http://localhost:8080/orders/v1.0/all"),
        ("['*.shop.example', shop.example]", "curl -i -H 'Host: shop.example' http://localhost:8080/orders/v1.0/all"),
        ("[]", "curl -i http://localhost:8080/orders/v1.0/all"),
        ("nonsense", "curl -i http://localhost:8080/orders/v1.0/all"),
    ],
)
def test_the_request_to_try_names_a_host_that_the_api_has(tmp_path: Path, hosts: str, command: str) -> None:
    asking = "{method: GET, path: /first, headers: [{name: x-a, exact: '1'}]}"
    found = api(tmp_path, f"[{asking}, {{method: GET, path: /all}}]\n  hosts: {hosts}").sample
    assert found is not None
    assert found.command("http://localhost:8080") == command


def test_a_folder_in_order_of_names(tmp_path: Path) -> None:
    for name in ("b.yml", "a.yaml", "c.json"):
        content = '{"kind": "Api", "metadata": {"name": "' + name + '"}, "spec": {}}'
        (tmp_path / name).write_text(content)
    (tmp_path / "README.md").write_text("no API")
    found = load(tmp_path)
    assert [api.path.name for api in found.apis] == ["a.yaml", "b.yml", "c.json"]
    assert found.refused == ()


def test_each_wrong_file_is_named_and_keeps_no_other_out(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("kind: Other\nmetadata: {name: a}\nspec: {}")
    (tmp_path / "b.yaml").write_text("kind: Api\nmetadata: {name: b\nspec: {}")
    (tmp_path / "c.yaml").write_text("kind: Api\nmetadata: {name: 7}\nspec: {}")
    (tmp_path / "d.yaml").write_text("kind: Api\nmetadata: {name: d}\nspec: []")
    (tmp_path / "e.yaml").mkdir()
    (tmp_path / "f.yaml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "g.yaml").write_text("kind: Api\nmetadata: {name: good}\nspec: {}")
    (tmp_path / "h.yaml").write_text("kind: Api\nmetadata: {name: good}\nspec: {}")
    (tmp_path / "i.yaml").write_text("[" * 5000)
    (tmp_path / "j.yaml").write_text("apiVersion: gatewright.dev/v1\nkind: Api\nspec: {}")
    (tmp_path / "k.yaml").write_text("# a policy's\nname: greet\nversion: v1.0.0")
    found = load(tmp_path)
    sentences = [line.removeprefix(f"{tmp_path}/") for file in found.refused for line in file.sentences]
    assert [api.name for api in found.apis] == ["good"]
    assert sentences[0] == "a.yaml:1: kind: expected 'Api', got 'Other'; write `kind: Api` where it is one"
    assert sentences[1] == (
        "b.yaml:3: expected a YAML document: while parsing a flow mapping: did not find expected ',' or '}'"
        "; fix the syntax"
    )
    assert sentences[2:5] == [
        "c.yaml:2: metadata.name: expected a string, got 7",
        "d.yaml:3: spec: expected an object, got an array",
        "e.yaml: Is a directory",
    ]
    assert sentences[5].startswith("f.yaml:1: ")
    assert sentences[6] == (
        f"h.yaml:1: metadata.name: {tmp_path}/g.yaml has an API 'good' already: give it another name"
    )
    assert sentences[7].startswith("i.yaml:1: ")
    assert sentences[8:] == [
        "j.yaml:1: metadata.name: expected a string, got nothing",
        "k.yaml:2: kind: expected 'Api', got nothing; write `kind: Api` where it is one",
    ]


BOTH = """# two APIs
---
kind: Api
metadata: {name: one}
spec: {}
---
# nothing
...
---
kind: Api
metadata: {name: two}
spec:
  text: |
    --- no separator
---
kind: Api
metadata: {name: 3}
---
kind: Api
metadata: {name: one}
spec: {}
---
kind: [
"""


def test_a_file_may_have_several_documents(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(BOTH)
    found = load(tmp_path)
    assert [(api.name, api.above) for api in found.apis] == [("one", 1), ("two", 8)]
    assert b"--- no separator" in found.apis[1].content
    place = tmp_path / "all.yaml"
    assert [sentence for file in found.refused for sentence in file.sentences] == [
        f"{place}:17: metadata.name: expected a string, got 3",
        f"{place}:16: spec: expected an object, got nothing",
        f"{place}:18: metadata.name: {place} has an API 'one' already: give it another name",
        f"{place}:24: expected a YAML document: while parsing a flow node: did not find expected node content"
        "; fix the syntax",
    ]


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "---\n---\n# x"])
def test_a_file_without_a_document_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    (refused,) = read(tmp_path / "a.yaml")
    assert isinstance(refused, RefusedFile)
    assert "expected " in refused.sentences[0]


@pytest.mark.parametrize("value", ["!!bool maybe", "&a [*a]", "9" * 5000, "!!python/object:x y", "[" * 5000])
def test_any_content_is_an_api_or_a_mistake_with_its_line(tmp_path: Path, value: str) -> None:
    (tmp_path / "a.yaml").write_text(f"kind: Api\nspec: {value}\n")
    (refused,) = read(tmp_path / "a.yaml")
    assert isinstance(refused, RefusedFile)
    assert refused.sentences[0].startswith(f"{tmp_path}/a.yaml:2: expected ")


def test_an_empty_folder_and_a_missing_file(tmp_path: Path) -> None:
    assert load(tmp_path) == ApiFiles(), "APIs may all come by the management API"
    with pytest.raises(ApiFileError, match=r"missing\.yaml: No such file or directory"):
        load(tmp_path / "missing.yaml")


def test_a_file_that_is_saved_has_another_stamp(tmp_path: Path) -> None:
    before = api(tmp_path)
    assert stamp(before.path) == before.stamp
    after = api(tmp_path, upstream="http://elsewhere")
    assert after.stamp != before.stamp
    (refused,) = read(tmp_path)
    assert isinstance(refused, RefusedFile)
    assert refused.stamp is not None
    assert stamp(tmp_path / "none") is None


def test_where_an_upstream_is(tmp_path: Path) -> None:
    assert api(tmp_path).is_at("127.0.0.1:9091")
    assert not api(tmp_path).is_at("127.0.0.1:909")
    assert not api(tmp_path).is_at(None)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("http://127.0.0.1:9091", "http://127.0.0.1:7"),
        ("http://localhost:9091/base", "http://localhost:7/base"),
        ("http://127.0.0.1:90911", "http://127.0.0.1:90911"),
        ("http://127x0.0.1:9091", "http://127x0.0.1:9091"),
        ("https://127.0.0.1:9091", "https://127.0.0.1:9091"),
    ],
)
def test_an_api_is_pointed_at_another_port(tmp_path: Path, before: str, after: str) -> None:
    found = move_upstreams(api(tmp_path, upstream=before), ("127.0.0.1", "localhost"), 9091, 7)
    assert found.upstreams == (after, "https://orders.internal/api")
    assert f"url: {after}}}".encode() in found.content
