"""The samples of docs/how-to/upstreams.md run unchanged but for the addresses of targets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from e2e.kit.certificates import Authority, authority
from e2e.kit.gateway import Gateway, api, running
from e2e.kit.markdown import blocks, page
from e2e.kit.names import Names
from e2e.kit.pool_targets import Target, tls_of

SHOWN = blocks(page("docs/how-to/upstreams.md"), "yaml")


@pytest.fixture(scope="module")
def trusted_authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("trusted"))


@pytest.fixture(scope="module")
def gateway(build: Path, trusted_authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    names = Names(tmp_path_factory.mktemp("names"))
    names.resolve_to_loopback("orders.internal")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GATEWRIGHT_CONTROLLER_TRUSTED_CA", str(trusted_authority.file))
        with running(build, tmp_path_factory.mktemp("state"), within=names.within) as gateway:
            yield gateway


@pytest.mark.parametrize("number", range(len(SHOWN)))
def test_shown_pools_run_unchanged(gateway: Gateway, trusted_authority: Authority, number: int) -> None:
    shown = SHOWN[number]
    a, b = Target("a"), Target("b")
    if "https:" in shown:
        for target in (a, b):
            target.tls = tls_of(trusted_authority, target.name, "orders.internal")
    with a, b:
        places = {"10.0.0.1:8080": a, "10.0.0.1:8443": a, "orders.internal:8080": a, "10.0.0.2:8080": b}
        for place, target in {**places, "10.0.0.2:8443": b}.items():
            host = "orders.internal" if place.startswith("orders") else "127.0.0.1"
            shown = shown.replace(place, f"{host}:{target.port}")
        document = api(f"shown-{number}", "")
        document["spec"]["upstream"] = yaml.safe_load(shown)["upstream"]
        gateway.deploy(document)
        answers = [httpx.get(f"{gateway.url}/shown-{number}/x") for _ in range(30)]
        assert {answer.status_code for answer in answers} == {200}
        base = "" if "https:" in shown else "/api"
        assert {path for target in (a, b) for path in target.seen} == {f"{base}/x"}
        if "targets" in shown and "ringHash" not in shown:
            assert {answer.text for answer in answers} == {"a", "b"}
