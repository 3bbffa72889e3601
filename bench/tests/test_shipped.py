"""`python -m bench shipped`: rows and manifest follow from the folders of the policies."""

from __future__ import annotations

import contextlib
import json
from argparse import ArgumentTypeError
from pathlib import Path

import pytest
import yaml

from bench.error import BenchError
from bench.rows import api
from bench.shipped import BASES, ENVOY_ALONE, POLICIES, measured_rows, policies_of, row_of, table, write_manifest
from bench.tests.samples import sample

WITHOUT_ROW = {"add-headers", "log-message", "mtls-auth", "redirect", "respond", "response-cache"}
"""The base that others are compared with, and policies whose cost is not that of a request which goes upstream."""


def test_each_policy_that_ships_has_a_row() -> None:
    with contextlib.ExitStack() as stack:
        rows = {row.title for row in measured_rows(stack)}
    assert {
        path.name for path in POLICIES.iterdir() if (path / "policy-definition.yaml").exists()
    } - rows == WITHOUT_ROW


def test_a_row_follows_from_its_bench_yaml() -> None:
    row = row_of("pii-mask", {"params": {"directions": ["request"]}, "timeout": "2s", "headers": {"x": "1"}, "body": 8})
    assert row.policies == (
        {"name": "pii-mask", "version": "v1", "params": {"directions": ["request"]}, "timeout": "2s"},
    )
    assert (row.sent, row.body, row.method) == ({"x": "1"}, 8, "POST")


def test_a_row_may_be_one_of_a_chat_completion() -> None:
    row = row_of("llm-usage", {"chat": True, "headers": {"x": "1"}})
    assert row.path == "/shipped-llm-usage/v1/chat/completions"
    assert json.loads(row.text)["temperature"] == 0
    assert (row.sent, row.method) == ({"x": "1"}, "POST")
    assert api(row, "h:1")["spec"]["operations"] == [{"method": "POST", "path": "/v1/chat/completions"}]  # type: ignore[index]


def test_some_policies_are_measured_by_choice() -> None:
    assert policies_of("llm-usage,cors") == {"llm-usage", "cors"}
    with pytest.raises(ArgumentTypeError, match="expected policies that ship, got other"):
        policies_of("cors,other")


def test_a_language_without_a_measured_policy_has_no_line() -> None:
    row = row_of("llm-usage", {"chat": True})
    taken = [("", ENVOY_ALONE.key), (row.key, BASES["python"].key), ("", row.key)]
    samples = [(name, sample(key)) for name, key in taken]
    assert [line.split(" | ")[0] for line in table(samples, [row])][2:] == [
        "| plain Envoy", "| one of the request, in Python", "| llm-usage",
    ]  # fmt: skip


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(
        BenchError, match=r"policies/cors/bench.yaml: expected body, chat, headers, params, text, timeout, got param$"
    ):
        row_of("cors", {"param": {}})


def test_the_manifest_has_policies_that_ship_and_those_of_the_bench(tmp_path: Path) -> None:
    listed = yaml.safe_load(write_manifest(tmp_path).read_text())["policies"]
    folders = {policy["name"]: Path(policy["filePath"]) for policy in listed}
    assert {path.parent.name for path in POLICIES.glob("*/policy-definition.yaml")} <= set(folders)
    assert folders["body-length"].parts[-3:] == ("bench", "policies", "body_length")
    assert all((folder / "policy-definition.yaml").exists() for folder in folders.values())
