"""A name server that does not answer."""

from __future__ import annotations

from pathlib import Path

import httpx

from e2e.gateway import api, eventually, running
from e2e.names import Names
from e2e.test_ready import ready_record, states
from e2e.upstream import Upstream

SILENCE_SECONDS = 8.0
HOSTS_SECONDS = 90.0  # Envoy's resolver reads /etc/hosts again after 60


def test_a_name_server_that_says_nothing_holds_up_a_start_for_seconds_only(
    build: Path, tmp_path: Path, upstream: Upstream
) -> None:
    names = Names(tmp_path, silent=True)
    names.know("orders.test")
    with running(build, tmp_path / "state", within=names.within) as gateway:
        gateway.deploy(api("named", f"http://orders.test:{upstream.port}"))
        gateway.deploy(api("other", upstream.url))
        assert httpx.get(f"{gateway.url}/named/x").status_code == 200
    names.know()
    with running(build, tmp_path / "state", within=names.within) as gateway:
        ready = ready_record(gateway)
        assert float(ready["envoy"].rstrip("s")) < SILENCE_SECONDS
        assert httpx.get(f"{gateway.url}/other/x").status_code == 200
        assert httpx.get(f"{gateway.url}/named/x").status_code == 503
        named = states(gateway)["named"]
        assert "resolve" in named["reason"] + named.get("note", "")
        names.know("orders.test")
        eventually("it is found", lambda: httpx.get(f"{gateway.url}/named/x").status_code == 200, HOSTS_SECONDS)
