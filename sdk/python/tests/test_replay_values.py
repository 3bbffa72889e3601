"""What a replay reads without a YAML parser, how it compares values, and where it places an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from gatewright.kit.changes import changes, matches
from gatewright.kit.policy_call import place
from gatewright.kit.recording import Message, Moment
from gatewright.kit.replay import read_definition
from gatewright.secrets import Secret
from hypothesis import given
from hypothesis import strategies as st

BLOCK = """processingMode: # which
  requestHeaderMode: PROCESS

  # and
  requestBodyMode: STREAM # it
parameters:
  x: 1
"""
FLOW = """parameters: {type: object}
processingMode: {requestHeaderMode: PROCESS,
  requestBodyMode: 'STREAM'}
"""


def body(text: str) -> dict[str, Any]:
    return {"size": len(text.encode()), "text": text}


@pytest.mark.parametrize("text", [BLOCK, FLOW])
def test_a_definition_is_read_without_a_parser(tmp_path: Path, text: str) -> None:
    (tmp_path / "d.yaml").write_text(f"name: tag # a name\nversion: 'v1.2.3'\nruntime: python\n{text}")
    found = read_definition(tmp_path / "d.yaml")
    assert (found.name, found.version) == ("tag", "v1.2.3")
    assert found.processing_mode.hooks == ("on_request", "on_request_stream")


def test_a_definition_that_is_not_understood(tmp_path: Path) -> None:
    (tmp_path / "d.yaml").write_text("{name: tag}")
    with pytest.raises(ValueError, match="give definition=…"):
        read_definition(tmp_path / "d.yaml")


def test_every_definition_of_ours_is_read() -> None:
    root = Path(__file__).resolve().parents[3]
    files = [
        *root.glob("sample-policies/*/policy-definition.yaml"),
        *root.glob("e2e/kit/policies/*/policy-definition.yaml"),
    ]
    assert len(files) > 25
    for file in files:
        assert read_definition(file).processing_mode.hooks


# ------------------------------------------------------------------ properties

NAMES, VALUES = st.sampled_from(["x", "y", "z"]), st.sampled_from(["1", "2", "[redacted]"])
LINES = st.lists(st.tuples(NAMES, VALUES), max_size=5)


@given(before=LINES, after=LINES)
def test_changes_make_after_of_before(before: list[tuple[str, str]], after: list[tuple[str, str]]) -> None:
    was, now = Moment(Message(headers=before)), Moment(Message(headers=after))
    found = changes(was, now, "request")
    for each in found:
        was.apply(each, "request")
    assert {name: was.request.values(name) for name in "xyz"} == {name: now.request.values(name) for name in "xyz"}
    for each in reversed(found):
        was.apply(each, "request", "before")
    back = {name: [value for each, value in before if each == name] for name in "xyz"}
    assert {name: was.request.values(name) for name in "xyz"} == back


@given(st.lists(st.text(max_size=5), min_size=1, max_size=4), st.text(max_size=8))
def test_what_was_taken_out_fits_anything(parts: list[str], secret: str) -> None:
    assert matches("[redacted]".join(parts), secret.join(parts))
    assert matches(body("[redacted]".join(parts)), body(secret.join(parts)), "body", True)
    if len("".join(parts)) and parts[0]:
        assert not matches(
            "[redacted]".join(parts), "".join(parts)[1:] if len(parts) == 1 else "\x00" + secret.join(parts)
        )


def test_an_error_that_the_sdk_raises_is_placed_at_the_line_that_called_it() -> None:
    with pytest.raises(TypeError) as raised:
        Secret(b"bytes")  # type: ignore[arg-type]
    file, line = place(raised.value, None)
    assert Path(file).resolve() == Path(__file__)
    assert "Secret(b" in Path(__file__).read_text().splitlines()[line - 1]
