import ctypes
import os
import re
import time
from collections.abc import Callable
from typing import Any

from sdk.policy import ImmediateResponse, RequestAction, RequestContext


def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    if params["how"] == "reply":
        return ImmediateResponse(200, body=bytes(params["megabytes"] << 20))
    FAULTS[params["how"]](params["seconds"])
    return None


def burn(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def recurse(seconds: float) -> None:
    recurse(seconds)


def allocate(seconds: float) -> None:
    memory = []
    while True:
        memory.append(bytearray(b"x") * (1 << 20))


def raise_exit(seconds: float) -> None:
    raise SystemExit(3)


def hold(seconds: float) -> None:
    """Never ends, and never lets go of the interpreter."""
    re.match(r"(a+)+$", "a" * 40 + "b")


FAULTS: dict[str, Callable[[float], object]] = {
    "sleep": time.sleep,
    "burn": burn,
    "raise-exit": raise_exit,
    "exit": lambda _: os._exit(3),
    "recurse": recurse,
    "segfault": lambda _: ctypes.string_at(8),
    "allocate": allocate,
    "hold": hold,
}
