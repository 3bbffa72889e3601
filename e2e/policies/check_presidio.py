"""pii-mask with Presidio, in a group of its own behind a real gateway: `make presidio-test`.

Not named test_*.py: it installs presidio-analyzer and spaCy from the package registry.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from gatewright.streams import SseParser

from e2e.kit import model_events
from e2e.kit.gateway import Gateway, api, attach, eventually, fresh_name, running
from e2e.kit.places import ROOT
from e2e.kit.publishing import make_wheel
from e2e.kit.upstream import Recorded, Reply, Upstream

PRESIDIO = "presidio-analyzer>=2.2.366,<3"
MODEL = "tiny-names"
LOAD = b"""
from pathlib import Path
import spacy

def load(**options):
    return spacy.util.load_model_from_path(Path(__file__).parent / "pipeline", **options)
"""
TEXT = "Write to Ada Lovelace about the bill, her ssn is 078-05-1121 and her mail ada@example.org"
ENTITIES: dict[str, Any] = {"entities": ["PERSON", "US_SSN", "EMAIL_ADDRESS"], "model": "tiny_names"}
TOKENS = {"directions": ["request"], "detect": [], "replacement": {"with": "token"}, "presidio": ENTITIES}


def build(folder: Path, requirements: Sequence[str]) -> Path:
    """A build with pii-mask in a group with these packages, and a policy of the group default."""
    policies = [
        {"name": "prompt-template"},
        {"name": "respond"},
        {"name": "pii-mask", "group": "presidio", "requirements": [PRESIDIO, *requirements]},
    ]
    manifest, output = folder / "build.yaml", ROOT / "build" / "e2e-presidio"
    manifest.write_text(yaml.safe_dump({"version": "v1", "policies": policies}))
    subprocess.run(["gatewright", "build", "--manifest", str(manifest), "--output", str(output)], check=True)
    return output


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The build with a model, which the spaCy of a first build has trained: the published ones are in no registry."""
    folder, pipeline = tmp_path_factory.mktemp("manifest"), tmp_path_factory.mktemp("model")
    python = build(folder, []) / "python-env" / "presidio" / "bin" / "python"
    program = ROOT / "e2e" / "kit" / "programs" / "train_names.py"
    subprocess.run([python, program, pipeline], check=True)
    files = {f"tiny_names/pipeline/{path.relative_to(pipeline)}": path for path in pipeline.rglob("*")}
    content = {name: path.read_bytes() for name, path in files.items() if path.is_file()}
    name, wheel = make_wheel(MODEL, "1.0", {"tiny_names/__init__.py": LOAD, **content}, {})
    (folder / name).write_bytes(wheel)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UV_FIND_LINKS", str(folder))
        yield build(folder, [f"{MODEL}==1.0"])


@pytest.fixture(scope="module")
def masking_gateway(output: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running(output, tmp_path_factory.mktemp("state")) as gateway:
        yield gateway


def deploy(gateway: Gateway, upstream: Upstream, params: dict[str, Any]) -> str:
    """Deploys an API with the policy, for which the first import of Presidio takes a while. Returns its URL."""
    name = fresh_name("presidio")
    with gateway.controller() as client:
        document = api(name, upstream.url, [attach("pii-mask", params, timeout="20s")])
        answer = client.post("/v1/apis", json=document)
        assert answer.is_success, answer.text
        eventually("it is deployed", lambda: client.get(f"/v1/apis/{name}/status").json()["state"] == "deployed", 90)
    return f"{gateway.url}/{name}"


def content_of(request: Recorded) -> str:
    return str(json.loads(request.body)["messages"][0]["content"])


def repeat(request: Recorded) -> Reply:
    """Says what the model was asked, whole or in events of five characters."""
    text = content_of(request)
    if not json.loads(request.body).get("stream"):
        document = {"choices": [{"message": {"role": "assistant", "content": text}}]}
        return Reply(200, [("content-type", "application/json")], json.dumps(document).encode())
    events = model_events.completion([text[at : at + 5] for at in range(0, len(text), 5)])
    return Reply(200, [("content-type", "text/event-stream")], b"".join(events))


def ask(url: str, text: str = TEXT, **more: object) -> httpx.Response:
    request = {"messages": [{"role": "user", "content": text}], **more}
    return httpx.post(f"{url}/v1/chat/completions", json=request, timeout=90)


def test_only_the_group_that_asks_has_the_packages(output: Path) -> None:
    installed = {path.parents[3].name for path in (output / "python-env").glob("*/lib/python*/site-packages/spacy")}
    assert {path.name for path in (output / "python-env").iterdir()} == {"default", "presidio"}
    assert installed == {"presidio"}


def test_the_client_gets_its_values_and_the_model_tokens(masking_gateway: Gateway, upstream: Upstream) -> None:
    upstream.reply = repeat
    url = deploy(masking_gateway, upstream, TOKENS)
    assert ask(url).json()["choices"][0]["message"]["content"] == TEXT
    documents = [event.data for event in SseParser().feed(ask(url, stream=True).content)]
    deltas = [json.loads(data)["choices"][0]["delta"] for data in documents if data not in (None, "[DONE]")]
    assert "".join(delta.get("content", "") for delta in deltas) == TEXT
    random = "[a-z2-7]{16}"
    person, ssn, email = (rf"\[{entity}:{random}\]" for entity in ENTITIES["entities"])
    form = f"Write to {person} about the bill, her ssn is {ssn} and her mail {email}"
    assert [bool(re.fullmatch(form, content_of(request))) for request in upstream.received[-2:]] == [True, True]


def test_what_scores_too_little_passes(masking_gateway: Gateway, upstream: Upstream) -> None:
    """A letter and seven digits alone score little; with a word of their kind beside them they score more."""
    upstream.reply = repeat
    licence = {**TOKENS, "presidio": {"entities": ["US_DRIVER_LICENSE"]}}
    url = deploy(masking_gateway, upstream, licence)
    for text in ("my C1234567", "my driver license is C1234567"):
        assert ask(url, text).is_success
    alone, with_words = (content_of(request) for request in upstream.received[-2:])
    assert alone == "my C1234567"
    assert re.fullmatch(r"my driver license is \[US_DRIVER_LICENSE:[a-z2-7]{16}\]", with_words)


@pytest.mark.parametrize(
    ("presidio", "reason"),
    [
        ({"entities": ["PERSON"]}, "names and places need one, see presidio.model; got PERSON"),
        ({"entities": ["US_SSN"], "language": "zz"}, "expected a language that spaCy knows, got zz"),
        ({"entities": ["US_SSN"], "model": "en_core_web_sm"}, "add en-core-web-sm to requirements beside pii-mask"),
        ({"entities": ["PERSON"], "model": "tiny_names", "language": "de"}, "got tiny_names (en)"),
    ],
)
def test_what_presidio_does_not_have_is_refused_at_deployment(
    masking_gateway: Gateway, upstream: Upstream, presidio: dict[str, Any], reason: str
) -> None:
    name = fresh_name("refused")
    document = api(name, upstream.url, [attach("pii-mask", {**TOKENS, "presidio": presidio})])
    with masking_gateway.controller() as client:
        assert client.post("/v1/apis", json=document).is_success
        eventually("the reason is there", lambda: reason in client.get(f"/v1/apis/{name}/status").text, 60)
        assert client.get(f"/v1/apis/{name}/status").json()["state"] == "pending"


def test_answers_are_masked_as_a_whole_and_events_are_refused(masking_gateway: Gateway, upstream: Upstream) -> None:
    upstream.reply = repeat
    url = deploy(masking_gateway, upstream, {"directions": ["response"], "detect": [], "presidio": ENTITIES})
    text = ask(url).json()["choices"][0]["message"]["content"]
    assert text == "Write to [masked] about the bill, her ssn is [masked] and her mail [masked]"
    refused = ask(url, stream=True)
    assert (refused.status_code, "the texts of events come in pieces" in refused.text) == (502, True)


def test_others_go_on_while_a_long_text_is_searched(masking_gateway: Gateway, upstream: Upstream) -> None:
    """Another attachment of the same process answers while Presidio computes, and no log line says that it waited."""
    upstream.reply = repeat
    slow = deploy(masking_gateway, upstream, TOKENS)
    quick = deploy(masking_gateway, upstream, {"directions": ["request"], "detect": ["email"]})
    hostile = f"{'(' * 20_000} {'1 ' * 20_000} {'a.' * 20_000}"
    with ThreadPoolExecutor(1) as pool:
        searched = pool.submit(ask, slow, hostile)
        answered = 0
        while not searched.done():
            assert ask(quick).is_success
            answered += 1
    print(f"{answered} requests of another attachment were answered meanwhile")
    assert (searched.result().status_code, answered > 5) == (200, True)
    assert not [record for record in masking_gateway.records() if "blocks the event loop" in str(record)]


def test_what_a_kilobyte_costs(masking_gateway: Gateway, upstream: Upstream) -> None:
    """Prints figures and compares none."""
    upstream.reply = repeat
    patterns = {"entities": ["US_SSN", "EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD"]}
    without = {"directions": ["request"], "replacement": {"with": "token"}}
    params = {"without Presidio": without, "patterns": {**TOKENS, "presidio": patterns}, "a small model": TOKENS}
    urls = {name: deploy(masking_gateway, upstream, chosen) for name, chosen in params.items()}
    prose = ("The bill is paid and we meet at noon to say hello to all of them. " * 16)[:940]
    for name, url in urls.items():
        times = []
        for _ in range(30):
            began = time.perf_counter()
            assert ask(url, prose + TEXT).is_success
            times.append((time.perf_counter() - began) * 1000)
        print(f"{name}: {statistics.median(times):.1f} ms for a request with 1 KB of text")
