"""The page of an exchange with a language model: prompt, answer, tokens, cost and budgets, by real policies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from e2e.inspector.accessibility import check_looks
from e2e.inspector.exchanges import explain, keep_exchanges, last_id
from e2e.inspector.screenshots import Screenshots
from e2e.kit.gateway import Gateway, api, attach
from e2e.kit.recorded import forget_exchanges
from e2e.kit.upstream import Reply, Upstream

NAME = "models"
CHAT = {"method": "POST", "path": "/v1/chat/completions"}
PRICES = {"gpt-4o-mini*": {"input": "0.15", "output": "0.60", "cachedInput": "0.075"}}
BUDGETS = [
    {"name": "tokens-of-a-day", "tokens": 100_000, "period": "day"},
    {"name": "money-of-a-month", "money": "20", "period": "month"},
]
MARKUP = """<img src=x onerror="globalThis.ran = true"><script>globalThis.ran = true</script>"""
TURNED = "invoice \u202egpj.exe"
MESSAGES = [
    {"role": "system", "content": "Answer in one sentence."},
    {"role": "user", "content": "What is the weather in Rome?\nIn degrees, please."},
]


def events(*documents: Any) -> bytes:
    return b"".join(b"data: %s\n\n" % json.dumps(document).encode() for document in documents) + b"data: [DONE]\n\n"


def delta(**members: Any) -> dict[str, Any]:
    return {"model": "gpt-4o-mini-2024-07-18", "choices": [{"index": 0, "delta": members}]}


USAGE = {
    "model": "gpt-4o-mini-2024-07-18",
    "choices": [],
    "usage": {"prompt_tokens": 1200, "completion_tokens": 40, "prompt_tokens_details": {"cached_tokens": 1024}},
}
CALL = {"index": 0, "function": {"name": "get_weather", "arguments": '{"city":'}}
STREAM = events(
    delta(role="assistant", content="It is "),
    delta(content="sunny,\nand 21 °C."),
    delta(tool_calls=[CALL]),
    delta(tool_calls=[{"index": 0, "function": {"arguments": '"Rome"}'}}]),
    USAGE,
)


@pytest.fixture
def models(gateway: Gateway, upstream: Upstream) -> Iterator[Gateway]:
    policies = [
        attach("llm-usage", {"prices": PRICES, "team": {"from": "header", "name": "x-team"}}),
        attach("llm-budget", {"budgets": BUDGETS, "prices": PRICES}),
    ]
    gateway.deploy(api(NAME, upstream.url, policies, [CHAT]))
    forget_exchanges(gateway)
    yield gateway
    gateway.remove(NAME)


def send(gateway: Gateway, upstream: Upstream, answer: bytes, kind: str = "text/event-stream", **members: Any) -> str:
    """The request id of a chat that was answered so."""
    upstream.reply = lambda _: Reply(200, [("content-type", kind)], answer)
    document = {"model": "gpt-4o-mini", "stream": kind == "text/event-stream", "max_tokens": 500, "messages": MESSAGES}
    with keep_exchanges(gateway, NAME) as client:
        reply = client.post(f"/{NAME}/v1/chat/completions", json={**document, **members}, headers={"x-team": "blue"})
        assert reply.status_code == 200, reply.text
        return last_id(gateway, NAME)


def section(page: Page) -> Locator:
    return page.get_by_role("region", name="Language model", exact=True)


def fact(page: Page, name: str) -> Locator:
    return section(page).locator(".facts > div").filter(has=page.get_by_text(name, exact=True)).locator("dd")


def written(page: Page, label: str) -> Locator:
    return section(page).get_by_role("region", name=label, exact=True)


def test_a_streamed_chat_is_for_everybody(
    page: Page, models: Gateway, upstream: Upstream, screenshot: Screenshots
) -> None:
    explain(page, send(models, upstream, STREAM))
    expect(section(page)).to_be_visible()
    figures = {
        "Model": "gpt-4o-mini", "Model in the answer": "gpt-4o-mini-2024-07-18", "Shape": "chat",
        "Asked to stream": "yes", "Answer came": "streamed", "Input tokens": "1,200", "Output tokens": "40",
        "Of the input cached": "1,024", "Of the output reasoning": "0", "Tokens are from": "llm-usage",
        "Cost": "0.0001272", "Outcome": "counted", "Team": "blue",
    }  # fmt: skip
    for name, figure in figures.items():
        expect(fact(page, name)).to_have_text(figure)
    assert written(page, "user").inner_text() == "What is the weather in Rome?\nIn degrees, please."
    assert written(page, "system").inner_text() == "Answer in one sentence."
    assert written(page, "assistant").inner_text() == "It is sunny,\nand 21 °C."
    assert written(page, "calls get_weather").inner_text() == '{"city":"Rome"}'
    expect(section(page)).to_contain_text("The answer came to its end.")
    budgets = section(page).get_by_role("region", name="Budgets").locator("tbody tr")
    tokens, money = (row.locator("th, td").all_inner_texts() for row in budgets.all())
    assert (tokens[0], tokens[2]) == ("tokens-of-a-day", "1,240 tokens")
    assert int(tokens[1].removesuffix(" tokens")) > 500, (
        "expected the limit of the output to be reserved, and the input"
    )
    assert (money[0], money[2]) == ("money-of-a-month", "0.0001272")
    check_looks(page, lambda: screenshot(page, "exchange-llm", of=section(page)))


def test_usage_that_was_not_counted_is_unknown(page: Page, gateway: Gateway, upstream: Upstream) -> None:
    """Without llm-usage, where no policy reads a body."""
    gateway.deploy(api(NAME, upstream.url, [attach("log-message")], [CHAT]))
    forget_exchanges(gateway)
    explain(page, send(gateway, upstream, STREAM))
    expect(fact(page, "Tokens")).to_have_text("unknown")
    expect(fact(page, "Cost")).to_have_text("unknown: llm-usage has not counted it")
    expect(section(page)).to_contain_text("The answer is unknown: it was not recorded.")
    expect(section(page)).to_contain_text("The prompt is unknown: it was not recorded.")
    expect(fact(page, "Model")).to_have_text("unknown")
    gateway.remove(NAME)


def test_what_was_cut_is_unknown(page: Page, models: Gateway, upstream: Upstream) -> None:
    """Of a body 16 KiB are recorded, less than these have. What policies have counted is known all the same."""
    long = [*MESSAGES, {"role": "user", "content": "long " * 5000}]
    explain(page, send(models, upstream, events(delta(content="word " * 5000), USAGE), messages=long))
    expect(section(page)).to_contain_text("Only the beginning of the prompt was recorded; the rest is unknown.")
    expect(section(page)).to_contain_text("Only the beginning of the answer was recorded; the rest is unknown.")
    expect(section(page)).to_contain_text("It is unknown whether the answer came to its end.")
    expect(fact(page, "Model")).to_have_text("gpt-4o-mini")
    expect(fact(page, "Input tokens")).to_have_text("1,200")
    expect(fact(page, "Cost")).to_have_text("0.0001272")


def test_texts_of_clients_and_models_are_shown_as_text(page: Page, models: Gateway, upstream: Upstream) -> None:
    answer = {"model": MARKUP, "choices": [{"message": {"content": MARKUP + TURNED}}]}
    messages = [{"role": "user", "content": MARKUP + TURNED}, {"role": "system", "content": "x" * 15_000}]
    explain(page, send(models, upstream, json.dumps(answer).encode(), "application/json", messages=messages))
    for label in ("user", "assistant"):
        assert written(page, label).inner_text() == MARKUP + TURNED.replace("\u202e", "\\u202e")
    expect(fact(page, "Model in the answer")).to_have_text(MARKUP)
    expect(fact(page, "Answer came")).to_have_text("whole")
    assert page.locator("main img, main script").count() == 0
    assert not page.evaluate("() => globalThis.ran ?? false")
    assert len(written(page, "system").inner_text()) == 15_000


def test_other_exchanges_have_no_section(page: Page, gateway: Gateway) -> None:
    with keep_exchanges(gateway, "orders") as client:
        assert client.post("/orders/items", json={"model": "m", "messages": []}).status_code == 200
        explain(page, last_id(gateway, "orders"))
    page.wait_for_load_state("networkidle")
    expect(section(page)).to_have_count(0)
