"""Python policies for a gateway that is watched: a policy that measures itself, and one that fails in every way."""

from __future__ import annotations

from e2e.kit.policy_project import PolicyProject

PACED = """\
import time

from sdk.metrics import Counter, Gauge, Histogram
from sdk.policy import UpstreamResponseModifications

SEEN = Counter("seen_total", "Requests, by what they asked for.", labels=["kind"])
PAUSE = Histogram("pause_seconds", "How long it slept.")
LATEST = Gauge("latest_pause_seconds", "The last of them.")

def on_request(ctx, params):
    began = time.perf_counter()
    seconds = float(ctx.headers.get("x-seconds", "0"))
    time.sleep(seconds)
    SEEN.inc(kind="slow" if seconds else "quick")
    PAUSE.observe(seconds)
    LATEST.set(seconds)
    ctx.metadata["worked"] = time.perf_counter() - began
    return None

def on_response(ctx, params):
    return UpstreamResponseModifications(set_headers={"x-worked": repr(ctx.metadata["worked"]), "x-version": "1"})
"""
FAILS = """\
import os
import time

def prepare(params):
    if params["how"] == "prepare":
        raise KeyError("no such key")

def on_request(ctx, params):
    if params["how"] == "raise":
        raise KeyError("no such key")
    if params["how"] == "exit":
        os._exit(3)
    time.sleep(params.get("seconds", 0))
    return None

def on_response(ctx, params):
    return None
"""
WHOLE = """\
def on_request(ctx, params):
    return None
"""
BUFFERED = "processingMode: {requestHeaderMode: SKIP, requestBodyMode: BUFFER}"


def write(project: PolicyProject) -> None:
    project.write_policy("paced", PACED)
    project.write_policy("fails", FAILS)
    project.write_policy("whole", WHOLE, more=BUFFERED)
    for name, source in (("crashes", FAILS), ("slow", FAILS), ("hangs", FAILS)):
        project.write_policy(name, source, group=name)


def change(project: PolicyProject) -> None:
    """The next version of `paced`."""
    project.write_policy("paced", PACED.replace('"x-version": "1"', '"x-version": "2"'))


def damage(project: PolicyProject) -> None:
    """`paced` with a mistake, which a reload refuses."""
    project.write_policy("paced", PACED + "\ndef on_request(:\n")
