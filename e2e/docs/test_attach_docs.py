"""docs/how-to/bring-your-own-envoy.md: its Api, its command and its bootstrap, together."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import httpx
import pytest
import yaml

from e2e.kit.attached_envoy import connection_manager, run_envoy
from e2e.kit.gateway import Json, running
from e2e.kit.listening import free_port
from e2e.kit.markdown import blocks, page
from e2e.kit.upstream import Upstream

PAGE = "docs/how-to/bring-your-own-envoy.md"
FILTERS, CLUSTERS = "# here: http_filters, as printed", "# here: clusters, as printed"


def as_the_page_says(printed: Json, upstream: Upstream, directory: Path) -> Json:
    """Its bootstrap, with what is printed where the page says, on free ports."""
    text = blocks(page(PAGE), "yaml")[1]
    assert FILTERS in text
    assert CLUSTERS in text
    config: Json = yaml.safe_load(text.replace("port_value: 3000", f"port_value: {upstream.port}"))
    config["static_resources"]["listeners"][0]["address"]["socket_address"]["port_value"] = 0
    config["static_resources"]["clusters"][:0] = printed["clusters"]
    connection_manager(config)["http_filters"][:0] = printed["http_filters"]
    return config | {"admin": {"address": {"pipe": {"path": str(directory / "admin")}}}}


@pytest.mark.timeout(180)
def test_the_page_from_its_api_to_a_request(build: Path, tmp_path: Path, upstream: Upstream) -> None:
    port, place = f"127.0.0.1:{free_port()}", "127.0.0.1:9002"
    run, print_ = blocks(page(PAGE), "sh")
    listen = shlex.split(run.replace(place, port))[2:]
    made = subprocess.run(shlex.split(print_.replace(place, port)), check=True, capture_output=True, timeout=60)
    config = as_the_page_says(yaml.safe_load(made.stdout), upstream, tmp_path)
    with running(build, tmp_path / "state", *listen) as gateway, run_envoy(tmp_path, config) as envoy:
        gateway.deploy(yaml.safe_load(blocks(page(PAGE), "yaml")[0]))
        answer = httpx.get(f"http://127.0.0.1:{envoy.port}/shop/cups")
    assert (answer.status_code, answer.headers["x-python"]) == (200, "hello")
    assert upstream.received[0].target == "/cups"
