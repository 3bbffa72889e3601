"""Code that changes under load, well and badly."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import httpx

from e2e.faults.contract import Contract, Fault
from e2e.faults.environment import MARK, LoadedEnvironment, Setting, now
from e2e.faults.row import NO_VIOLATIONS, Row

RELOADS = 20
ENOUGH = 10_000
BROKEN = {
    "a syntax error": "def (\n",
    "an import of nothing": "import no_such_module\n",
    "an exception at import": "raise KeyError('at import')\n",
    "an exception in prepare": "def prepare(params):\n    raise KeyError('in prepare')\n",
}


def reload_often(environment: LoadedEnvironment, times: int) -> Fault:
    """So many new generations, each of them seen to answer."""
    start = now()
    for number in range(times):
        write(environment, MARK.format(word=f"word-{number}"))
        result = environment.gateway.reload()
        assert result.returncode == 0, result.stderr
        assert word(environment) == f"word-{number}"
    return Fault(start, now())


def reload_broken(environment: LoadedEnvironment) -> Fault:
    """Reloads broken policies: each is refused with its place."""
    start = now()
    for kind, lines in BROKEN.items():
        write(environment, MARK.format(word="broken") + lines)
        result = environment.gateway.reload()
        assert result.returncode == 1, f"{kind} was not refused"
        assert "policy.py:" in result.stderr, f"{kind}: expected file and line, got {result.stderr}"
    assert word(environment) == "first"
    return Fault(start, now())


def write(environment: LoadedEnvironment, source: str) -> None:
    assert environment.project is not None
    environment.project.write_policy("mark", source)


def word(environment: LoadedEnvironment) -> str:
    """By which generation a request is answered now."""
    return str(httpx.get(f"http://{environment.address}/python/x", timeout=10).headers["x-word"])


def many(environment: LoadedEnvironment) -> list[str]:
    sent = len(environment.load.answers())
    return [] if sent >= ENOUGH else [f"expected at least {ENOUGH} requests under reloads, sent {sent}"]


def reloads(times: int, check: Callable[[LoadedEnvironment], list[str]] = NO_VIOLATIONS) -> Row:
    inject = partial(reload_often, times=times)
    return Row(f"hot code reload ×{times}", inject, Contract(recovery=0.0), Setting(code=True), check=check)


ROWS = [
    reloads(RELOADS, many),
    Row("broken code reload ×4", reload_broken, Contract(recovery=0.0), Setting(code=True)),
]
