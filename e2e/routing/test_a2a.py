"""A2A passes unharmed: the official SDK's client and agent, with the API of docs/how-to/a2a.md between them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from e2e.kit.a2a import run_client, running_agent
from e2e.kit.gateway import Gateway, Json, attach, fresh_name
from e2e.kit.markdown import blocks, page

SHOWN = "http://agent.internal:8000"
CHAINS: dict[str, list[Json]] = {
    "no policies": [],
    "Python policies": [
        attach("add-python-header", {"headerName": "x-seen", "headerValue": "yes"}),
        attach("pass-stream"),
    ],
}


@pytest.fixture(params=CHAINS)
def addresses(request: pytest.FixtureRequest, gateway: Gateway) -> Iterator[tuple[str, str]]:
    """The agent's address, and its address at the gateway, which its card names."""
    name = fresh_name("a2a")
    through = f"{gateway.url}/{name}"
    with running_agent(f"{through}/rpc") as direct:
        text = blocks(page("docs/how-to/a2a.md"), "yaml")[0]
        assert SHOWN in text
        document = yaml.safe_load(text.replace(SHOWN, direct))
        document["metadata"]["name"] = name
        document["spec"] |= {"context": f"/{name}", "policies": CHAINS[request.param]}
        gateway.deploy(document)
        yield direct, through


def test_a_client_gets_the_same_through_the_gateway(addresses: tuple[str, str]) -> None:
    """The card, a message, and a stream whose end waits for a message that the client sends after the first events."""
    direct, through = addresses
    for version in ("1.0", "0.3"):
        expected = run_client(direct, version, "--rpc", f"{direct}/rpc")
        card, heard, events = run_client(through, version)
        assert [card, heard, events] == expected
        assert card["supportedInterfaces"][0]["url"] == f"{through}/rpc"
        assert "heard hello" in str(heard)
        assert [kind for event in events for kind in event][-1] == "statusUpdate"
        assert "the result" in str(events)
