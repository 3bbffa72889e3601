"""docs/tutorial/guardrail.md step by step, in the folder that `gatewright init --ai` writes: commands and answers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.kit.gateway import Gateway, running
from e2e.kit.markdown import blocks, page

PAGE = page("docs/tutorial/guardrail.md")
(POLICY,) = blocks(PAGE, "python")
START, PYTEST, ASKS, HAS_THE_WORD, ASKS_TOO_MUCH = blocks(PAGE, "sh")
(REFUSAL,) = blocks(PAGE, "json")
pytestmark = pytest.mark.timeout(240)


def run(command: str, folder: Path) -> str:
    """The stdout of the page's lines for a shell."""
    result = subprocess.run(["bash", "-ec", command], cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{command}: {result.stdout}{result.stderr}"
    return result.stdout


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tutorial")
    run(START, folder)
    return folder / "my-ai-gateway"


@pytest.fixture(scope="module")
def gateway(starter: Path) -> Iterator[Gateway]:
    """The gateway of the starter before its provider, which has a free port."""
    command = [sys.executable, "provider.py", "0"]
    with subprocess.Popen(
        command, cwd=starter, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as provider:
        assert provider.stdout is not None
        url = provider.stdout.readline().strip()
        model = starter / "apis" / "model.yaml"
        model.write_text(model.read_text().replace("http://127.0.0.1:8000", url))
        manifest = ["--manifest", str(starter / "build.yaml"), "--output", str(starter / "build")]
        try:
            with running(None, starter / "state", *manifest) as gateway:
                run(f"gatewright apply -f apis --run-dir {gateway.run_dir}", starter)
                yield gateway
        finally:
            provider.kill()


def ask(gateway: Gateway, starter: Path, command: str) -> dict[str, object]:
    answer: dict[str, object] = json.loads(run(command.replace("8080", str(gateway.port)).strip() + " -sS", starter))
    return answer


def test_the_page_has_the_starters_policy_and_its_test_passes(starter: Path) -> None:
    assert (starter / "policies" / "guard" / "policy.py").read_text() == POLICY
    assert "4 passed" in run(f"{sys.executable} -m {PYTEST.strip()} -q -p no:cacheprovider", starter)


def test_a_prompt_reaches_the_provider_unless_it_has_the_word(gateway: Gateway, starter: Path) -> None:
    assert "`Hello from the provider.`" in PAGE
    answer = ask(gateway, starter, ASKS)
    assert answer["choices"] == [
        {"index": 0, "message": {"role": "assistant", "content": "Hello from the provider."}, "finish_reason": "stop"}
    ]
    assert ask(gateway, starter, HAS_THE_WORD) == json.loads(REFUSAL)


def test_more_than_the_budget_is_refused(gateway: Gateway, starter: Path) -> None:
    refusal = ask(gateway, starter, ASKS_TOO_MUCH)
    assert refusal["status"] == 429
    assert "the budget client-day has 100000 tokens each day" in str(refusal["detail"])


def test_openais_client_streams_through_it(gateway: Gateway) -> None:
    import openai  # here, for it takes seconds, in each process that collects this file

    with openai.OpenAI(base_url=f"{gateway.url}/model/v1", api_key="ada", timeout=60) as client:
        stream = client.chat.completions.create(
            model="fake", messages=[{"role": "user", "content": "Hello"}], stream=True, max_tokens=50
        )
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    assert text == "Hello from the provider."
