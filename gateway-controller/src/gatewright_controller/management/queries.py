"""Query parameters of the management API."""

from __future__ import annotations

import math

from starlette.requests import Request

from gatewright_controller.management.problems import Problem

LONGEST_WAIT = 300.0


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


def whole_number(request: Request, name: str, default: int, least: int, most: int) -> int:
    """`?NAME=N`, from `least` to `most`. Raises `Problem`."""
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(most)) and least <= int(text) <= most):
        raise Problem(400, f"expected {name} to be a whole number from {least} to {most}, got {text!r}")
    return int(text)
