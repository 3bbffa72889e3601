from __future__ import annotations

import copy
import json
import logging
import pickle
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from gatewright import testing
from gatewright.metadata import Metadata, checked_params
from gatewright.secrets import Secret, from_wire, revive
from hypothesis import given
from hypothesis import strategies as st

PLANTED = "hunter2-planted"
SECRET = Secret(PLANTED, "upstream-key")
SHOWN: list[Callable[[Any], Any]] = [
    str, repr, "{}".format, "{!r:>60}".format, "%s".__mod__, "%r".__mod__, ascii, lambda secret: f"{secret:>40}",
    lambda secret: str([secret]), lambda secret: repr({"key": secret}), lambda secret: str(vars(type(secret))),
    lambda secret: dir(secret),
]  # fmt: skip
REFUSED: list[Callable[[Any], Any]] = [
    json.dumps, pickle.dumps, lambda secret: pickle.dumps([secret], 0), vars, iter, len, lambda secret: secret + "",
    bytes, lambda secret: setattr(secret, "_text", "x"), lambda secret: delattr(secret, "_text"),
    lambda secret: "".join([secret]),
]  # fmt: skip


@pytest.mark.parametrize("show", SHOWN)
def test_it_is_shown_by_its_name(show: Callable[[Any], Any]) -> None:
    assert PLANTED not in str(show(SECRET))
    assert str(SECRET) == repr(SECRET) == f"{SECRET}" == "Secret(name='upstream-key')"


@pytest.mark.parametrize("refused", REFUSED)
def test_it_goes_into_nothing_and_does_not_change(refused: Callable[[Any], Any]) -> None:
    with pytest.raises((TypeError, AttributeError)) as caught:
        refused(SECRET)
    assert PLANTED not in str(caught.value)
    assert SECRET.reveal() == PLANTED


def test_logs_and_tracebacks_show_its_name(caplog: pytest.LogCaptureFixture) -> None:
    def fails(secret: Secret) -> None:
        params = {"key": secret}
        raise ValueError(secret, params)

    with pytest.raises(ValueError) as caught:  # noqa: PT011 - what it says is looked at
        fails(SECRET)
    logging.getLogger("test").error("%s %r", SECRET, {"key": SECRET}, exc_info=caught.value)
    with_locals = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "upstream-key" in with_locals
    assert PLANTED not in with_locals + caplog.text


def test_it_equals_secrets_of_its_text_alone() -> None:
    assert Secret(PLANTED) == SECRET
    assert hash(Secret(PLANTED)) == hash(SECRET)
    assert {SECRET: 1}[Secret(PLANTED, "other")] == 1
    assert Secret("other") != SECRET
    assert SECRET != PLANTED
    assert SECRET.matches(PLANTED)
    assert not SECRET.matches("hunter")
    assert Secret("\udc80").matches("\udc80")


def test_copies_are_itself() -> None:
    assert copy.copy(SECRET) is copy.deepcopy(SECRET) is SECRET
    params = testing.params(key=SECRET, list=[SECRET])
    assert copy.deepcopy(params)["list"][0] is SECRET
    with pytest.raises(TypeError, match="read-only"):
        params["key"] = "other"


def test_it_is_made_of_text_only() -> None:
    with pytest.raises(TypeError, match="got bytes"):
        Secret(b"text")  # type: ignore[arg-type]


@given(st.text(), st.text())
def test_it_is_read_of_parameters(name: str, text: str) -> None:
    wire = json.dumps({"key": {"secretRef": name, "value": text}, "deep": [{"x": {"secretRef": "", "value": text}}]})
    for params in (json.loads(wire, object_hook=from_wire), revive(json.loads(wire))):
        assert (params["key"].name, params["key"].reveal()) == (name, text)
        assert params["deep"][0]["x"] == Secret(text)


@pytest.mark.parametrize(
    "other",
    [{"secretRef": "a"}, {"value": "a"}, {"secretRef": "a", "value": 1}, {"secretRef": "a", "value": "b", "c": 1}],
)
def test_other_objects_stay(other: dict[str, Any]) -> None:
    assert json.loads(json.dumps(other), object_hook=from_wire) == other


def test_parameters_may_have_it_and_metadata_may_not() -> None:
    assert checked_params({"key": [SECRET]}, "params") == {"key": [SECRET]}
    with pytest.raises(TypeError, match="expected a JSON value") as caught:
        Metadata(b"{}")["key"] = {"inner": SECRET}
    assert PLANTED not in str(caught.value)
    assert testing.secret("text", name="a-name").name == "a-name"
