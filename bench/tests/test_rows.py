from __future__ import annotations

import json
from pathlib import Path

import yaml

from bench import rows
from bench.peers import PEERS
from bench.rows import NAIVE, PLAIN, ROWS


def test_each_row_with_an_api_has_a_definition(tmp_path: Path) -> None:
    rows.write_apis(ROWS, "127.0.0.1:9", tmp_path)
    assert {file.stem for file in tmp_path.iterdir()} == {row.key for row in ROWS if row.policies is not None}
    spec = yaml.safe_load((tmp_path / "go-python-go.json").read_text())["spec"]
    assert spec["context"] == "/go-python-go"
    assert spec["upstream"]["main"]["url"] == "http://127.0.0.1:9/go-python-go"
    assert [policy["name"] for policy in spec["policies"]] == ["add-headers", "add-python-header", "add-headers"]


def test_a_definition_of_an_earlier_run_is_gone(tmp_path: Path) -> None:
    rows.write_apis(ROWS, "127.0.0.1:9", tmp_path / "apis")
    rows.write_apis(ROWS[:2], "127.0.0.1:9", tmp_path / "apis")
    assert [file.stem for file in (tmp_path / "apis").iterdir()] == ["no-policies"]


def test_each_policy_of_a_row_must_be_seen_in_both_directions() -> None:
    for row in ROWS:
        headers = row.upstream if not row.events else row.policies
        assert len(headers or ()) == len(row.policies or row.upstream)
        assert set(row.upstream) <= set(row.client)


def test_a_body_must_have_been_read_by_the_policy_and_must_have_arrived() -> None:
    for row in (row for row in ROWS if row.body):
        assert (row.upstream["X-Body-Length"], row.client["X-Received-Bytes"]) == (str(row.body),) * 2


def test_each_event_must_have_been_marked_by_the_policy() -> None:
    marks = {row.key: (row.mark, row.path) for row in ROWS if row.events}
    assert marks == {
        "events-no-policies": ("~", "/events-no-policies/orders/4711?events=20&every=2ms"),
        "events-go": ("#", "/events-go/orders/4711?events=20&every=2ms"),
        "events-python": ("#", "/events-python/orders/4711?events=20&every=2ms"),
    }


def test_each_row_is_a_peers_or_has_an_api() -> None:
    assert {row.key for row in ROWS if row.policies is None} == set(PEERS)


def test_each_peer_but_plain_envoy_adds_the_same_header() -> None:
    peers = [row for row in ROWS if row.key in PEERS and row.key not in (PLAIN, NAIVE)]
    assert all(row.upstream == {"X-Peer": "1"} for row in peers)


def test_the_python_row_differs_from_the_go_row_by_the_python_policy_alone() -> None:
    go, python = (next(row.policies for row in ROWS if row.key == key) for key in (rows.GO, rows.PYTHON))
    assert [policy for policy in python or () if policy["name"] != "add-python-header"] == list(go or ())


def test_the_upstream_expects_the_headers_of_the_rows(tmp_path: Path) -> None:
    rows.write_expectations(ROWS, tmp_path / "expect.json")
    expectations = json.loads((tmp_path / "expect.json").read_text())
    assert expectations["/plain"] == {}
    assert expectations["/go-python-go"] == {"X-Go-First": "1", "X-Go-Last": "1", "X-Python-Policy": "1"}
