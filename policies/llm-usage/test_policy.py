import asyncio
import errno
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sdk import testing
from sdk.policy import Identity, PolicyMetadata, RequestContext, UpstreamRequestModifications

policy = testing.load_policy(__file__)
tally = policy.tally
TARIFF = sys.modules[policy.Tariff.__module__]
CHAT = "/v1/chat/completions"
PRICES = {
    "gpt-4o*": {"input": "2.50", "output": "10", "cachedInput": "1.25"},
    "claude*": {"input": "3", "output": "15"},
}
USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}}
USAGE_CHUNK = {"choices": [], "model": "gpt-4o-x", "usage": USAGE}
DELTA = {"choices": [{"delta": {"content": "Hi"}}], "model": "gpt-4o-x"}
DONE = b"data: [DONE]\n\n"
ME = PolicyMetadata("llm-usage", "v1.0.0", api_name="models")
COUNTERS = {
    "input": tally.INPUT, "output": tally.OUTPUT, "cached": tally.CACHED, "written": tally.CACHE_WRITTEN,
    "reasoning": tally.REASONING, "cost": tally.COST, "unpriced": tally.UNPRICED,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _counted_anew() -> Iterator[None]:
    testing.reset_metrics(policy)
    tally.COMBINATIONS._known.clear()
    yield
    assert all(counter.refused == 0 for counter in [tally.REQUESTS, *COUNTERS.values()])


def chat(**changed: Any) -> bytes:
    return json.dumps({"model": "gpt-4o", "messages": [], **changed}).encode()


def whole(usage: Any = USAGE, model: str = "gpt-4o-x") -> bytes:
    return json.dumps({"model": model, "choices": [], "usage": usage}).encode()


def events(*documents: Any, end: bytes = DONE) -> bytes:
    return b"".join(b"data: %s\n\n" % json.dumps(document).encode() for document in documents) + end


def exchange(
    body: bytes,
    answer: bytes,
    path: str = CHAT,
    *,
    status: int = 200,
    content_type: str | None = None,
    stop_after: int | None = None,
    sizes: Any = (),
    identity: Identity | None = None,
    headers: Any = None,
    **params: Any,
) -> tuple[RequestContext, Any, bytes]:
    """A request through the policy: its context, the action of the request phase, and what the client gets."""
    values = testing.params(policy, **{"prices": PRICES, **params})
    with testing.prepared(policy, values) as prepared:
        request = testing.request("POST", path, body=body, headers=headers or {}, prepared=prepared, policy=ME)
        request.identity = identity
        action = policy.on_request(request, values)
        kind = content_type or ("text/event-stream" if answer.startswith((b"data", b"event")) else "application/json")
        response = testing.response(status, headers={"content-type": kind}, request=request)
        answered = policy.on_response(response, values)
        if status == 204:
            request.metadata["logged"] = dict(answered.analytics_metadata) if answered else {}
            return request, action, b""
        assert answered is None
        result = testing.run_stream(
            policy.on_response_stream,
            testing.stream(answer, sizes=sizes),
            ctx=response,
            params=values,
            stop_after=stop_after,
        )
        assert result.rejected is None
        request.metadata["logged"] = dict(result.analytics)
        return request, action, result.body


def labels(model: str = "gpt-4o-x", client: str = "", team: str = "") -> dict[str, str]:
    return {"api": "models", "model": model, "client": client, "team": team}


def counts(**names: str) -> dict[str, int]:
    """The counters that are not 0."""
    values = {name: int(counter.value(**labels(**names))) for name, counter in COUNTERS.items()}
    return {name: value for name, value in values.items() if value}


def outcomes(**names: str) -> dict[str, int]:
    kinds = ("counted", "no_usage", "aborted", "error", "unknown_shape")
    values = {kind: int(tally.REQUESTS.value(**labels(**names), outcome=kind)) for kind in kinds}
    return {name: value for name, value in values.items() if value}


# ------------------------------------------------------------------ what is counted


def test_a_whole_answer_is_counted_and_passes_unchanged() -> None:
    _, action, body = exchange(chat(), whole(), sizes=[3, 1])
    assert body == whole()
    assert action == UpstreamRequestModifications(
        analytics_metadata={"llm": {"shape": "chat", "model": "gpt-4o", "streams": False}}
    )
    assert counts() == {"input": 7, "output": 5, "cached": 4, "cost": 3 * 2500 + 4 * 1250 + 5 * 10_000}
    assert outcomes() == {"counted": 1}


def test_a_streamed_answer_asks_for_usage_which_the_client_does_not_get() -> None:
    _, action, body = exchange(chat(stream=True), events(DELTA, USAGE_CHUNK), sizes=[7] * 30)
    assert json.loads(action.body)["stream_options"] == {"include_usage": True}
    assert body == events(DELTA)
    assert (counts()["input"], counts()["output"], outcomes()) == (7, 5, {"counted": 1})


@pytest.mark.parametrize(
    ("body", "params"),
    [(chat(stream=True, stream_options={"include_usage": True}), {}), (chat(stream=True), {"askForUsage": False})],
)
def test_a_client_that_has_asked_gets_the_usage(body: bytes, params: Any) -> None:
    _, action, passed = exchange(body, events(DELTA, USAGE_CHUNK), **params)
    assert action.body is None
    assert passed == events(DELTA, USAGE_CHUNK)
    assert outcomes() == {"counted": 1}


@pytest.mark.parametrize(
    ("path", "body", "answer", "counted"),
    [
        (
            "/v1/messages",
            {"model": "claude-x", "messages": [], "max_tokens": 9},
            events(
                {
                    "type": "message_start",
                    "message": {"model": "claude-x", "usage": {"input_tokens": 2, "output_tokens": 1}},
                },
                {"type": "message_delta", "usage": {"output_tokens": 6}},
                {"type": "message_stop"},
                end=b"",
            ),
            {"input": 2, "output": 6, "cost": 2 * 3000 + 6 * 15_000},
        ),
        (
            "/v1/responses",
            {"model": "gpt-4o", "input": "Hi"},
            json.dumps({"model": "gpt-4o-x", "usage": {"input_tokens": 2, "output_tokens": 6}}).encode(),
            {"input": 2, "output": 6, "cost": 2 * 2500 + 6 * 10_000},
        ),
        (
            "/v1beta/models/gemini-x:generateContent",
            {"contents": []},
            json.dumps(
                {"modelVersion": "gemini-x", "usageMetadata": {"promptTokenCount": 2, "thoughtsTokenCount": 6}}
            ).encode(),
            {"input": 2, "output": 6, "reasoning": 6, "unpriced": 1},
        ),
        (
            "/v1/embeddings",
            {"model": "e", "input": "Hi"},
            json.dumps({"model": "e", "usage": {"prompt_tokens": 2, "total_tokens": 2}}).encode(),
            {"input": 2, "unpriced": 1},
        ),
    ],
)
def test_each_shape_is_counted(path: str, body: Any, answer: bytes, counted: dict[str, int]) -> None:
    _, _, passed = exchange(json.dumps(body).encode(), answer, path)
    assert passed == answer
    model = {"/v1/messages": "claude-x", "/v1/responses": "gpt-4o-x", "/v1/embeddings": "e"}.get(path, "gemini-x")
    assert counts(model=model) == counted
    assert outcomes(model=model) == {"counted": 1}


@pytest.mark.parametrize(
    ("answer", "more", "outcome", "model"),
    [
        (whole(None), {}, "no_usage", "gpt-4o-x"),
        (events(DELTA), {}, "no_usage", "gpt-4o-x"),
        (b"<html>", {"content_type": "text/html"}, "no_usage", "gpt-4o"),
        (b"", {"status": 204}, "no_usage", "gpt-4o"),
        (events(DELTA, end=b""), {}, "aborted", "gpt-4o-x"),
        (whole()[:-3], {}, "aborted", "gpt-4o-x"),
        (events(DELTA, USAGE_CHUNK, end=b""), {}, "counted", "gpt-4o-x"),
        (events(DELTA, DELTA), {"stop_after": 1, "sizes": [80] * 9}, "aborted", "gpt-4o-x"),
        (b'{"error": {"message": "no such model"}}', {"status": 404}, "error", ""),
        (events({"error": {"type": "overloaded"}}, end=b""), {}, "error", ""),
        (b"busy", {"status": 503, "content_type": "text/plain"}, "error", ""),
    ],
)
def test_each_outcome(answer: bytes, more: Any, outcome: str, model: str) -> None:
    exchange(chat(stream=True), answer, **more)
    assert outcomes(model=model) == {outcome: 1}


def test_what_an_aborted_answer_has_said_is_counted() -> None:
    start = {
        "type": "message_start",
        "message": {"model": "claude-x", "usage": {"input_tokens": 25, "output_tokens": 1}},
    }
    body = json.dumps({"model": "claude-x", "messages": [], "stream": True}).encode()
    exchange(body, events(start, {"type": "ping"}, end=b""), "/v1/messages", stop_after=1)
    assert (counts(model="claude-x")["input"], outcomes(model="claude-x")) == (25, {"aborted": 1})


def test_other_requests_pass_and_are_counted_as_unknown() -> None:
    _, action, body = exchange(b"{}", whole(), "/v1/models")
    assert (action, body) == (None, whole())
    assert outcomes(model="") == {"unknown_shape": 1}
    assert counts() == {}


def test_the_requested_model_decides_where_the_answer_names_none() -> None:
    exchange(chat(), json.dumps({"usage": USAGE}).encode())
    assert counts(model="gpt-4o")["cost"] > 0


def test_a_price_of_the_requested_model_counts_where_the_answers_has_none() -> None:
    exchange(chat(), whole(model="azure-deployment"))
    assert counts(model="azure-deployment")["cost"] == 3 * 2500 + 4 * 1250 + 5 * 10_000


@given(
    st.lists(st.sampled_from([DELTA, USAGE_CHUNK, {"choices": []}, {"x": "\n"}]), max_size=5),
    st.sampled_from([DONE, b"", b"data: {", b": x\n\n"]),
    st.lists(st.integers(1, 90), max_size=20),
)
def test_all_other_bytes_of_a_stream_pass_unchanged(documents: list[Any], end: bytes, sizes: list[int]) -> None:
    _, _, body = exchange(chat(stream=True), events(*documents, end=end), content_type="text/event-stream", sizes=sizes)
    assert body == events(*(document for document in documents if document != USAGE_CHUNK), end=end)


# ------------------------------------------------------------------ who is counted

ADA = Identity(
    "ada", issuer="https://login", claims={"team": "blue", "n": 7}, consumer="app-1", labels={"cost-centre": "42"}
)


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ({"from": "none"}, ""),
        ({"from": "subject"}, "https://login ada"),
        ({"from": "consumer"}, "app-1"),
        ({"from": "claim", "name": "team"}, "blue"),
        ({"from": "claim", "name": "n"}, ""),
        ({"from": "claim", "name": "other"}, ""),
        ({"from": "label", "name": "cost-centre"}, "42"),
        ({"from": "header", "name": "x-team"}, "green"),
    ],
)
def test_the_values_of_labels(source: Any, value: str) -> None:
    exchange(chat(), whole(), identity=ADA, headers={"x-team": "green"}, team=source)
    assert outcomes(client="app-1", team=value) == {"counted": 1}


@pytest.mark.parametrize("kind", ["none", "subject", "consumer", "claim", "label", "header"])
def test_a_request_without_a_value_has_an_empty_label(kind: str) -> None:
    name = {"name": "x"} if kind in ("claim", "label", "header") else {}
    exchange(chat(), whole(), client={"from": kind, **name})
    assert outcomes() == {"counted": 1}


def test_combinations_of_labels_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "COMBINATIONS", policy.tally.Combinations(2))
    for team in ("a", "b", "c", "d", "a", "x" * 500):
        exchange(chat(), whole(), headers={"x-team": team}, team={"from": "header", "name": "x-team"})
    assert outcomes(team="a") == {"counted": 2}
    assert outcomes(model="other", client="other", team="other") == {"counted": 3}


def test_names_that_only_clients_know_make_no_labels() -> None:
    for number in range(5):
        exchange(chat(model=f"random-{number}"), b'{"error": {"message": "no"}}', status=404)
    assert outcomes(model="") == {"error": 5}


# ------------------------------------------------------------------ where else it is seen


def test_the_metadata_has_what_an_answer_took() -> None:
    ctx, _, _ = exchange(chat(), whole())
    note = ctx.metadata.to_dict()["llm-usage"]
    tokens = {"input": 7, "output": 5, "cached": 4, "cacheWritten": 0, "reasoning": 0}
    assert (note["outcome"], note["model"], note["tokens"], note["cost"]) == (
        "counted",
        "gpt-4o-x",
        tokens,
        "0.0000625",
    )


def test_a_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    exchange(chat(), whole(), logUsage=True)
    exchange(chat(), whole(), logUsage=False)
    (record,) = [record for record in caplog.records if "llm" in record.getMessage()]
    line = json.loads(record.getMessage())["llm"]
    assert (line["outcome"], line["tokens"]["input"], line["cost"], line["api"]) == (
        "counted",
        7,
        "0.0000625",
        "models",
    )


@pytest.mark.parametrize("streams", [False, True])
def test_the_access_log_has_what_an_answer_took(streams: bool) -> None:
    answer = events(DELTA, USAGE_CHUNK) if streams else whole()
    request, _, _ = exchange(chat(stream=streams), answer, sizes=[7] * 40)
    tokens = {"input": 7, "output": 5, "cached": 4, "cacheWritten": 0, "reasoning": 0}
    assert request.metadata["logged"] == {
        "llm": {"shape": "chat", "model": "gpt-4o-x", "streams": streams, "outcome": "counted", **tokens,
                "cost": "0.0000625"}
    }  # fmt: skip


def test_the_access_log_has_the_outcome_of_an_answer_without_usage() -> None:
    request, _, _ = exchange(chat(), b'{"error": {"message": "busy"}}', status=429)
    values = {"shape": "chat", "model": "gpt-4o", "streams": False}
    assert request.metadata["logged"] == {"llm": {**values, "outcome": "error"}}
    request, _, _ = exchange(chat(), b"", status=204)
    assert request.metadata["logged"] == {"llm": {**values, "outcome": "no_usage"}}
    request, _, _ = exchange(chat(stream=True), events(DELTA, USAGE_CHUNK), stop_after=1)
    assert request.metadata["logged"] == {}
    request, _, _ = exchange(b"{}", b"{}", "/v1/models")
    assert request.metadata["logged"] == {}


def test_the_names_of_the_conventions() -> None:
    with testing.clock():
        request, action, _ = exchange(chat(), whole(), genAi=True)
    names = {"gen_ai_operation_name": "chat", "gen_ai_provider_name": "openai", "gen_ai_request_model": "gpt-4o-x"}
    assert tally.TOKEN_USAGE.sum(**names, gen_ai_token_type="input") == 7  # noqa: S106
    assert tally.TOKEN_USAGE.sum(**names, gen_ai_token_type="output") == 5  # noqa: S106
    assert tally.DURATION.count(**names) == 1
    assert action.analytics_metadata["gen_ai.request.model"] == "gpt-4o"
    logged = {name: value for name, value in request.metadata["logged"].items() if name != "llm"}
    assert logged == {
        "gen_ai.response.model": "gpt-4o-x", "gen_ai.usage.input_tokens": 7, "gen_ai.usage.output_tokens": 5
    }  # fmt: skip


@pytest.mark.parametrize("label", ["client", "team"])
def test_a_label_from_nowhere_is_one_mistake(label: str) -> None:
    with pytest.raises(ValueError, match=rf"^params\.{label}\.from: expected 'none', .* or 'header', got 'heder'$"):
        testing.params(policy, **{label: {"from": "heder", "name": "x-team"}})


def test_a_star_before_the_end_of_a_priced_name_is_refused() -> None:
    """It would stand for itself, so no model would have the price."""
    price = PRICES["claude*"]
    with pytest.raises(ValueError, match=r'params\.prices\["gpt-\*-mini"\]: expected .* at its end alone, got .*gpt-'):
        testing.params(policy, prices={"gpt-*": price, "gpt-*-mini": price})


# ------------------------------------------------------------------ prices of a file


def test_a_file_has_prices_and_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TARIFF, "FOLDER", tmp_path)
    file = tmp_path / "prices.json"
    file.write_text('{"gpt-4o*": {"input": 1, "output": 1}, "m": {"input": 0.1, "output": 1}}')
    values = testing.params(policy, prices=PRICES, pricesFile="prices.json")
    usage = policy.llm.Usage(1_000_000)
    with testing.clock() as clock, testing.prepared(policy, values) as tariff:
        assert tariff.cost(("gpt-4o",), usage) == policy.Decimal("2.5")
        assert tariff.cost(("m",), usage) == policy.Decimal("0.1")
        file.write_text("{")
        clock.advance(100)
        assert tariff.cost(("m",), usage) == policy.Decimal("0.1")
        file.write_text('{"m": {"input": 0.2, "output": 1}}')
        clock.advance(100)
        assert tariff.cost(("m",), usage) == policy.Decimal("0.2")


def mistake_of_file(folder: Path, monkeypatch: pytest.MonkeyPatch, may_read: bool | None = None) -> str:
    """may_read: by the file's mode; it is not read, if not because of that then by Landlock. None: no file is kept."""
    values = testing.params(policy, pricesFile="prices.json")
    monkeypatch.setattr(TARIFF, "FOLDER", folder)
    if may_read is not None:
        monkeypatch.setattr(os, "access", lambda _path, mode: may_read or mode == os.F_OK)
        monkeypatch.setattr(Path, "read_bytes", Mock(side_effect=PermissionError(errno.EACCES, "Permission denied")))
    with pytest.raises(ValueError, match=r"prices\.json") as caught, testing.prepared(policy, values):
        pass
    return str(caught.value)


def test_a_file_without_prices_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "prices.json").write_text("[]")
    assert mistake_of_file(tmp_path, monkeypatch) == f"{tmp_path}/prices.json: expected an object, got []"


@pytest.mark.parametrize(
    ("has_folder", "may_read", "got", "cure"),
    [
        (True, None, "No such file or directory", "put it there on each node: the policy reads files of {folder} "
         "alone"),
        (False, None, "No such file or directory", "make the folder on each node, and start the nodes again: the "
         "policy reads files of {folder} alone, and not those of a folder that its process has not found at its start"),
        (True, False, "Permission denied", "let that user read it, on each node"),
        (True, True, "Permission denied", "start the node again: the policy reads files of {folder} alone, and not "
         "those of a folder that its process has not found at its start"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_refused_with_its_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_folder: bool, may_read: bool | None, got: str, cure: str
) -> None:
    folder = tmp_path if has_folder else tmp_path / "none"
    expected = f"a file of prices at {folder}/prices.json of the node, readable by its user {os.geteuid()}"
    mistake = f"pricesFile: expected {expected}, got {got}; {cure.format(folder=folder)}"
    assert mistake_of_file(folder, monkeypatch, may_read) == mistake


def test_a_thousand_streams_at_once_are_counted_each() -> None:
    values = testing.params(policy, prices=PRICES)
    answer = events(DELTA, USAGE_CHUNK)

    async def stream(prepared: Any) -> None:
        request = testing.request("POST", CHAT, body=chat(stream=True), prepared=prepared, policy=ME)
        policy.on_request(request, values)
        response = testing.response(headers={"content-type": "text/event-stream"}, request=request)
        await testing.collect_stream(
            policy.on_response_stream, testing.stream(answer, sizes=[50] * 9), ctx=response, params=values
        )

    async def all_streams() -> None:
        with testing.prepared(policy, values) as prepared:
            await asyncio.gather(*(stream(prepared) for _ in range(1000)))

    asyncio.run(all_streams())
    assert (counts()["input"], counts()["output"], outcomes()) == (7000, 5000, {"counted": 1000})
