"""Code that changes under load, well and badly."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import httpx

from e2e.faults.contract import Contract, Fault
from e2e.faults.environment import MARK, Setting, Site, now
from e2e.faults.row import NO_COMPLAINTS, Row

RELOADS = 20
ENOUGH = 10_000
BROKEN = {
    "a syntax error": "def (\n",
    "an import of nothing": "import no_such_module\n",
    "an exception at import": "raise KeyError('at import')\n",
    "an exception in prepare": "def prepare(params):\n    raise KeyError('in prepare')\n",
}


def reload_often(site: Site, times: int) -> Fault:
    """So many new generations, each of them seen to answer."""
    began = now()
    for number in range(times):
        write(site, MARK.format(word=f"word-{number}"))
        done = site.gateway.reload()
        assert done.returncode == 0, done.stderr
        assert word(site) == f"word-{number}"
    return Fault(began, now())


def reload_broken(site: Site) -> Fault:
    """Each is refused, and says where."""
    began = now()
    for what, lines in BROKEN.items():
        write(site, MARK.format(word="broken") + lines)
        done = site.gateway.reload()
        assert done.returncode == 1, f"{what} was not refused"
        assert "policy.py:" in done.stderr, f"{what}: expected file and line, got {done.stderr}"
    assert word(site) == "first"
    return Fault(began, now())


def write(site: Site, source: str) -> None:
    assert site.workshop is not None
    site.workshop.policy("mark", source)


def word(site: Site) -> str:
    """By which generation a request is answered now."""
    return str(httpx.get(f"http://{site.address}/python/x", timeout=10).headers["x-word"])


def many(site: Site) -> list[str]:
    sent = len(site.load.answers())
    return [] if sent >= ENOUGH else [f"expected at least {ENOUGH} requests under reloads, sent {sent}"]


def reloads(times: int, check: Callable[[Site], list[str]] = NO_COMPLAINTS) -> Row:
    inject = partial(reload_often, times=times)
    return Row(f"hot code reload ×{times}", inject, Contract(recovery=0.0), Setting(code=True), check=check)


ROWS = [
    reloads(RELOADS, many),
    Row("broken code reload ×4", reload_broken, Contract(recovery=0.0), Setting(code=True)),
]
