"""A name server that does not answer."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from e2e.kit.gateway import api, eventually, running
from e2e.kit.name_server import name_server
from e2e.kit.names import Names
from e2e.kit.upstream import Upstream
from e2e.lifecycle.test_ready import ready_record, states

SILENCE_SECONDS = 25.0
"""Without the settings of the bootstrap it would be 40."""
FOUND_SECONDS = 90.0


@pytest.mark.slow("a name server that says nothing is waited for")
def test_a_silent_name_server_delays_a_start_by_seconds_only(build: Path, tmp_path: Path, upstream: Upstream) -> None:
    with name_server() as server:
        server.known["orders.test"] = ["127.0.0.1"]
        names = Names(tmp_path, server=server.address)
        with running(build, tmp_path / "state", within=names.within) as gateway:
            gateway.deploy(api("named", f"http://orders.test:{upstream.port}"))
            gateway.deploy(api("other", upstream.url))
            eventually("it is found", lambda: httpx.get(f"{gateway.url}/named/x").status_code == 200)
        server.is_silent = True
        with running(build, tmp_path / "state", within=names.within) as gateway:
            ready = ready_record(gateway)
            assert float(ready["envoy"].rstrip("s")) < SILENCE_SECONDS
            assert httpx.get(f"{gateway.url}/other/x").status_code == 200
            assert httpx.get(f"{gateway.url}/named/x").status_code == 503
            named = states(gateway)["named"]
            assert "resolve" in named["reason"] + named.get("note", "")
            server.is_silent = False
            eventually("it is found", lambda: httpx.get(f"{gateway.url}/named/x").status_code == 200, FOUND_SECONDS)
