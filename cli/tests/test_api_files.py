from __future__ import annotations

from pathlib import Path

import pytest
from gatewright_cli.api_files import ApiFileError, load

API = """
kind: Api
metadata: {name: orders-v1}
spec:
  version: v1.0
  context: /orders/$version
  operations: OPERATIONS
"""


def trial(tmp_path: Path, operations: str) -> tuple[str, str] | None:
    (tmp_path / "a.yaml").write_text(API.replace("OPERATIONS", operations))
    return load(tmp_path / "a.yaml")[0].trial


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        ("[{method: POST, path: /}, {method: GET, path: '/{id}'}]", ("GET", "/orders/v1.0/try")),
        ("[{method: GET, path: '/{id}'}, {method: HEAD, path: /all}]", ("HEAD", "/orders/v1.0/all")),
        ("[{method: GET, path: /files/*}]", ("GET", "/orders/v1.0/files/try")),
        ("[{method: DELETE, path: /}]", None),
        ("[]", None),
        ("nonsense", None),
    ],
)
def test_the_trial_request_changes_nothing(tmp_path: Path, operations: str, expected: tuple[str, str] | None) -> None:
    assert trial(tmp_path, operations) == expected


def test_a_folder_in_order_of_names(tmp_path: Path) -> None:
    for name in ("b.yml", "a.yaml", "c.json"):
        content = '{"kind": "Api", "metadata": {"name": "c"}, "spec": {}}' if name == "c.json" else API
        (tmp_path / name).write_text(content)
    (tmp_path / "README.md").write_text("no API")
    assert [api.path.name for api in load(tmp_path)] == ["a.yaml", "b.yml", "c.json"]


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("kind: Other")
    (tmp_path / "b.yaml").write_text("{")
    (tmp_path / "c.yaml").write_text("kind: Api\nmetadata: {name: 7}\nspec: {}")
    (tmp_path / "d.yaml").write_text("kind: Api\nmetadata: {name: d}\nspec: []")
    with pytest.raises(ApiFileError) as caught:
        load(tmp_path)
    said = [mistake.removeprefix(f"{tmp_path}/") for mistake in caught.value.mistakes]
    assert said[0] == "a.yaml: expected one document with `kind: Api`"
    assert said[1].startswith("b.yaml: while parsing")
    assert said[2:] == [
        "c.yaml: expected a string at metadata.name, got 7",
        "d.yaml: expected an object at spec, got []",
    ]


def test_an_empty_folder_and_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ApiFileError, match=r"expected at least one \.yaml or \.json file"):
        load(tmp_path)
    with pytest.raises(ApiFileError, match=r"missing\.yaml: No such file or directory"):
        load(tmp_path / "missing.yaml")
