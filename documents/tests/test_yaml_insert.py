"""Adding an item to a list that a person has written, whatever stands around it."""

from __future__ import annotations

import pytest
from gatewright_documents.yaml_insert import with_item
from gatewright_documents.yaml_reader import read_yaml
from hypothesis import given
from hypothesis import strategies as st

ITEM = {"name": "quota", "filePath": "policies/quota"}
LINES = "- name: quota\n    filePath: policies/quota\n"
FLOW = "{name: quota, filePath: policies/quota}"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("version: v1\npolicies:\n  - name: a\n", f"version: v1\npolicies:\n  - name: a\n  {LINES}"),
        ("policies:\n  - name: a # why\n  # the end\nversion: v1\n",
         f"policies:\n  - name: a # why\n  {LINES}  # the end\nversion: v1\n"),
        ("policies:\n- name: a", "policies:\n- name: a\n- name: quota\n  filePath: policies/quota\n"),
        ("policies:\n  - {name: a}\n\nsdists: [b]\n", f"policies:\n  - {{name: a}}\n  - {FLOW}\n\nsdists: [b]\n"),
        ("policies:\n  - name: a\n    more: {\n      b: c,\n    }\n# end\n",
         f"policies:\n  - name: a\n    more: {{\n      b: c,\n    }}\n  {LINES}# end\n"),
        ("policies: []\n", f"policies: [{FLOW}]\n"),
        ("policies: [{name: a}] # all\n", f"policies: [{{name: a}}, {FLOW}] # all\n"),
        ("policies: [\n  {name: a},\n]\n", f"policies: [\n  {{name: a}}, {FLOW},\n]\n"),
        ("policies:\r\n  - name: a\r\n", f"policies:\r\n  - name: a\r\n  {LINES}"),
        ("---\npolicies:\n  - name: ä # ü\n...\n", f"---\npolicies:\n  - name: ä # ü\n  {LINES}...\n"),
    ],
)  # fmt: skip
def test_all_else_stays(before: str, after: str) -> None:
    assert with_item(before, "policies", ITEM) == after


@pytest.mark.parametrize(
    "text",
    ["", "policies:\n", "policies: a\n", "version: v1\n", "- a\n", "policies: [", "policies: &a\n  - b\nmore: *a\n"],
)
def test_what_has_no_such_list_is_left_alone(text: str) -> None:
    assert with_item(text, "policies", ITEM) is None


@given(
    names=st.lists(st.sampled_from(["a", '"b: c"', "'#d'", "|\n          e\n          f"]), min_size=1, max_size=4),
    comments=st.lists(st.sampled_from(["", " # why", "\n  # all", "\n"]), min_size=4, max_size=4),
    indent=st.sampled_from(["", "  ", "    "]),
)
def test_it_is_added_and_nothing_else_is_changed(names: list[str], comments: list[str], indent: str) -> None:
    lines = [
        f"{indent}- name: {name}{'' if '|' in name else comment}\n"
        for name, comment in zip(names, comments, strict=False)
    ]
    text = f"version: v1 # one\npolicies:\n{''.join(lines)}sdists: [x]\n"
    changed = with_item(text, "policies", ITEM)
    old = read_yaml(text.encode())
    assert changed is not None
    assert read_yaml(changed.encode()) == {**old, "policies": [*old["policies"], ITEM]}
    kept = [line for line in changed.splitlines() if line in text.splitlines()]
    assert kept == text.splitlines()
