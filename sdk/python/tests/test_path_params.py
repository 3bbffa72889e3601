"""ctx.path_params, as conformance/path_params.json says; the engine and the controller's routes are held to it too."""

import json
from pathlib import Path
from typing import Any

import pytest
from gatewright import testing
from gatewright.path_params import encode_path_params, parse_path_params, path_params_in
from hypothesis import given
from hypothesis import strategies as st

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[3] / "conformance" / "path_params.json").read_text("utf-8")
)


@pytest.mark.parametrize("case", [case for case in CASES if case["params"] is not None], ids=lambda case: case["path"])
def test_params_of_an_operation(case: dict[str, Any]) -> None:
    for operation in (f"GET {case['template']}", f"GET {case['template']} [x-a=b {{c}}]"):
        assert path_params_in(case["context"], operation, case["path"]) == case["params"]


def test_what_a_context_has() -> None:
    ctx = testing.request(path="/orders/7/", path_params={"id": "a b/ü"})
    assert ctx.path_params == {"id": "a b/ü"}
    assert ctx.path_params.get("none") is None
    with pytest.raises(TypeError):
        ctx.path_params["id"] = "8"  # type: ignore[index]
    assert testing.response(request=ctx).request.path_params == {"id": "a b/ü"}
    assert testing.streaming(ctx, testing.stream()).path_params == {"id": "a b/ü"}
    assert testing.request().path_params == {}


def test_bytes_that_are_no_text_are_kept() -> None:
    assert parse_path_params(b"id\0%ff\xfe%00\0") == {"id": "\udcff\udcfe\0"}


@given(st.dictionaries(st.from_regex(r"\A[a-z_][a-z0-9_-]*\Z"), st.text(min_size=1), max_size=4))
def test_what_is_encoded_comes_back(values: dict[str, str]) -> None:
    values = {name: value for name, value in values.items() if value.encode("utf-8", "replace").decode() == value}
    assert parse_path_params(encode_path_params(values)) == values
