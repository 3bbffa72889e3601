"""An orderly stop under load: every request is answered, or was never sent because the connection was refused."""

from __future__ import annotations

from pathlib import Path

import httpx

from e2e.kit import scraping
from e2e.kit.attachments import GO_HEADERS
from e2e.kit.clients import run_clients
from e2e.kit.gateway import api, attach, eventually, running
from e2e.kit.upstream import Upstream

CHAIN = [GO_HEADERS, attach("mark", {"name": "stopping"})]


def test_a_stop_under_load_loses_no_request(build: Path, tmp_path: Path, upstream: Upstream) -> None:
    """Neither of clients that keep their connections nor of clients that make new ones."""
    with running(build, tmp_path) as gateway:
        gateway.deploy(api("stopping", upstream.url, CHAIN))
        url = f"{gateway.url}/stopping/x"
        with run_clients(url, keep_alive=True) as keeping, run_clients(url, keep_alive=False) as connecting:
            eventually("traffic flows", lambda: min(keeping.answered, connecting.answered) > 200)
            assert gateway.stop() == 0
    for clients in keeping, connecting:
        assert clients.lost == []
        assert clients.first_refusal > clients.last_answered_connect
    assert "could not be drained" not in "".join(gateway.log)


def test_new_connections_are_served_while_load_balancers_drain(build: Path, tmp_path: Path, upstream: Upstream) -> None:
    with running(build, tmp_path, "--envoy.drain-time-s", "2") as gateway:
        gateway.deploy(api("late", upstream.url, CHAIN))
        admin = scraping.address(gateway)
        gateway.process.terminate()
        with run_clients(f"{gateway.url}/late/x", keep_alive=False, clients=1) as clients:
            eventually("the stop has begun", lambda: httpx.get(f"http://{admin}/ready").status_code == 503)
            ready = httpx.get(f"http://{admin}/ready")
            assert (ready.status_code, ready.json()["reason"]) == (503, "it is being stopped")
            before = clients.answered
            eventually("a late client is served", lambda: clients.answered > before + 2)
            assert gateway.process.wait(30) == 0
    assert clients.lost == []
