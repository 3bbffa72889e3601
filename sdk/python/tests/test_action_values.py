"""What an action may hold: the tables in conformance/, to which the policy engine is held too."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from gatewright import action, testing
from gatewright.action import ActionError

CONFORMANCE = Path(__file__).parents[3] / "conformance"
TABLE: dict[str, Any] = json.loads((CONFORMANCE / "action-values.json").read_text())
ACTIONS: dict[str, Any] = json.loads((CONFORMANCE / "actions.json").read_text())
KINDS = [kind for kind in TABLE if kind != "about"]


def header_value(value: str) -> None:
    action.header_blob("set_headers", {"x-a": value.encode("latin-1")})


CHECKS: dict[str, Callable[[str], object]] = {
    "headerName": lambda name: action.header_blob("set_headers", {name: "b"}),
    "headerValue": header_value,
    **{name: lambda value, name=name: action.target(name, value) for name in action.TARGETS},  # type: ignore[misc]
}


def takes(kind: str, value: str) -> bool:
    try:
        CHECKS[kind](value)
    except ActionError:
        return False
    return True


def around(kind: str, character: str) -> str:
    return f"/orders/x{character}y" if kind == "path" else f"x{character}y"


@pytest.mark.parametrize("kind", KINDS)
def test_every_character_is_taken_or_refused_as_in_the_table(kind: str) -> None:
    row = TABLE[kind]
    for number in range(256):
        wanted = number not in row["allBut"] if "allBut" in row else chr(number) in row["characters"]
        assert takes(kind, around(kind, chr(number))) == wanted, f"{kind}: {number:#x}"


@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind in KINDS for value in TABLE[kind]["taken"]])
def test_what_the_table_says_is_taken(kind: str, value: str) -> None:
    CHECKS[kind](value)


@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind in KINDS for value in TABLE[kind]["refused"]])
def test_what_the_table_says_is_refused(kind: str, value: str) -> None:
    with pytest.raises(ActionError):
        CHECKS[kind](value)


def test_a_value_as_text_is_checked_like_one_as_bytes() -> None:
    for number in TABLE["headerValue"]["allBut"]:
        with pytest.raises(ActionError, match="control characters"):
            action.header_blob("set_headers", {"x-a": f"é{chr(number)}"})
        with pytest.raises(ActionError, match="control characters"):
            action.header_blob("append_headers", {"x-a": ["fine", f"b{chr(number)}"]})


@pytest.fixture(scope="module")
def twin() -> ModuleType:
    """The policy that does what its parameters say; what it returns is checked as the gateway does."""
    return testing.load_policy(str(CONFORMANCE / "twin" / "policy.py"))


def returned(twin: ModuleType, case: dict[str, Any]) -> object:
    context = testing.request() if case["hook"] == "onRequest" else testing.response()
    hook = twin.on_request if case["hook"] == "onRequest" else twin.on_response
    return hook(context, {case["hook"]: {"action": case["action"]}})


@pytest.mark.parametrize("case", ACTIONS["taken"], ids=lambda case: case["name"])
def test_actions_that_the_table_takes(twin: ModuleType, case: dict[str, Any]) -> None:
    returned(twin, case)


@pytest.mark.parametrize("case", ACTIONS["refused"], ids=lambda case: case["name"])
def test_actions_that_the_table_refuses(twin: ModuleType, case: dict[str, Any]) -> None:
    if case.get("gatewayOnly"):
        returned(twin, case)
    else:
        with pytest.raises(ActionError):
            returned(twin, case)
