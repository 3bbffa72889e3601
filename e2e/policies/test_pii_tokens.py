"""pii-mask with tokens behind a real gateway: the model sees tokens, the client its own values, streamed or whole, and
no recording has the values of the exchange's metadata."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator

import httpx
import pytest
import yaml
from gatewright.streams import SseParser

from e2e.kit import model_events
from e2e.kit.gateway import Gateway, api, attach, running
from e2e.kit.places import ROOT
from e2e.kit.recorded import record_exchanges, wait_for_exchanges
from e2e.kit.upstream import Recorded, Reply, Upstream

pytestmark = pytest.mark.timeout(180)
TOKENS = {"directions": ["request"], "replacement": {"with": "token"}}
TEXT = "Write to ada@example.org, call +41 44 668 18 00, and not ada@example.org"
INVENTED = " [email:aaaaaaaaaaaaaaaa]"


@pytest.fixture(scope="module")
def masking_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    manifest = tmp_path_factory.mktemp("manifest") / "build.yaml"
    manifest.write_text(yaml.safe_dump({"version": "v1", "policies": [{"name": "pii-mask"}]}))
    output = ROOT / "build" / "e2e-pii-tokens"
    subprocess.run(["gatewright", "build", "--manifest", str(manifest), "--output", str(output)], check=True)
    with running(output, manifest.parent / "state") as gateway:
        yield gateway


def content_of(request: Recorded) -> str:
    return str(json.loads(request.body)["messages"][0]["content"])


def answer(request: Recorded) -> Reply:
    """Says what the model was asked, whole or in events of five characters."""
    text = content_of(request) + INVENTED
    if not json.loads(request.body).get("stream"):
        document = {"choices": [{"message": {"role": "assistant", "content": text}}]}
        return Reply(200, [("content-type", "application/json")], json.dumps(document).encode())
    events = model_events.completion([text[at : at + 5] for at in range(0, len(text), 5)])
    return Reply(200, [("content-type", "text/event-stream")], b"".join(events))


def ask(url: str, **more: object) -> httpx.Response:
    request = {"messages": [{"role": "user", "content": TEXT}], **more}
    return httpx.post(f"{url}/v1/chat/completions", json=request, timeout=30)


def test_the_client_gets_its_values_and_the_model_tokens(masking_gateway: Gateway, upstream: Upstream) -> None:
    upstream.reply = answer
    masking_gateway.deploy(api("tokens", upstream.url, [attach("pii-mask", TOKENS, timeout="10s")]))
    whole = ask(f"{masking_gateway.url}/tokens").json()["choices"][0]["message"]["content"]
    streamed = ask(f"{masking_gateway.url}/tokens", stream=True).content
    assert whole == TEXT + INVENTED
    documents = [json.loads(event.data) for event in SseParser().feed(streamed) if event.data not in (None, "[DONE]")]
    deltas = [document["choices"][0]["delta"].get("content", "") for document in documents]
    assert "".join(deltas) == TEXT + INVENTED
    seen = [content_of(request) for request in upstream.received[-2:]]
    form = r"Write to (\[email:[a-z2-7]{16}\]), call \[phone:[a-z2-7]{16}\], and not \1"
    assert all(re.fullmatch(form, text) for text in seen)
    assert seen[0] != seen[1], "expected tokens of its own for each exchange"


def test_no_recording_has_the_values_of_the_metadata(masking_gateway: Gateway, upstream: Upstream) -> None:
    upstream.reply = answer
    masking_gateway.deploy(api("recorded", upstream.url, [attach("pii-mask", TOKENS, timeout="10s")]))
    with record_exchanges(masking_gateway, api="recorded"):
        assert ask(f"{masking_gateway.url}/recorded").status_code == 200
        (exchange,) = wait_for_exchanges(masking_gateway, api="recorded")
    assert exchange["metadata"] == {"secret_pii_mask": "[redacted]"}
    changes = [change for execution in exchange["executions"] for change in execution.get("changes", [])]
    written = [change for change in changes if change["what"] == "metadata"]
    assert written == [{"what": "metadata", "name": "secret_pii_mask", "after": "[redacted]"}]
