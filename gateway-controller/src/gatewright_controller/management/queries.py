"""Query parameters of the management API."""

from __future__ import annotations

import math

from gatewright_documents.mistake import listed
from starlette.requests import Request

from gatewright_controller.management.problems import Problem
from gatewright_controller.management.rows import Parameter

LONGEST_WAIT = 300.0
WAIT = Parameter(
    "wait",
    {"type": "number", "minimum": 0, "maximum": int(LONGEST_WAIT), "default": 0},
    "Seconds to wait until the nodes have acknowledged or refused it.",
)
DRY_RUN = Parameter("dry_run", {"type": "boolean", "default": False}, "Says what would change; nothing is done.")


def wait(request: Request) -> float:
    """`?wait=SECONDS`; 0 where there is none. Raises `Problem`."""
    text = request.query_params.get("wait", "0")
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= LONGEST_WAIT:
        raise Problem(400, f"expected wait to be seconds from 0 to {LONGEST_WAIT:g}, got {text!r}")
    return seconds


def dry_run(request: Request) -> bool:
    """`?dry_run=true`. Raises `Problem`."""
    return flag(request, "dry_run")


def flag(request: Request, name: str) -> bool:
    """`?NAME=true`; false where there is none. Raises `Problem`."""
    text = request.query_params.get(name, "false")
    if text not in ("true", "false"):
        raise Problem(400, f"expected {name} to be true or false, got {text!r}")
    return text == "true"


def choice(request: Request, parameter: Parameter) -> str:
    """One of the values that the parameter's schema lists; "" where there is none. Raises `Problem`."""
    text = request.query_params.get(parameter.name, "")
    known = parameter.schema["enum"]
    if parameter.name in request.query_params and text not in known:
        raise Problem(400, f"expected {parameter.name} to be {listed(known)}, got {text!r}")
    return text


def whole_number(request: Request, name: str, default: int, least: int, most: int) -> int:
    """`?NAME=N`, from `least` to `most`. Raises `Problem`."""
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(most)) and least <= int(text) <= most):
        raise Problem(400, f"expected {name} to be a whole number from {least} to {most}, got {text!r}")
    return int(text)
