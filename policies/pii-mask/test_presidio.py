"""What pii-mask does with what Presidio finds. Its place takes a search for words: e2e/policies/check_presidio.py has
the package itself."""

import asyncio
import json
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sdk import testing
from sdk.streams import SseEvent

policy = testing.load_policy(__file__)
presidio = sys.modules[policy.Analyzers.__module__]
POOL = ThreadPoolExecutor(1)
WORDS = {"PERSON": "Ada Lovelace|Ada", "NICK_NAME": "Lovelace the First", "MAIL": r"\w+@\w+\.org"}
EMOJI = "\N{WINKING FACE}"


def search(words: Mapping[str, str] = WORDS) -> Callable[[str], Iterator[Any]]:
    """Finds these words, as Presidio finds entities."""

    def analyse(text: str) -> Iterator[Any]:
        text.encode()  # Presidio accepts no half of a surrogate pair
        for entity, pattern in words.items():
            for match in re.finditer(pattern, text):
                yield presidio.Match(*match.span(), entity)

    return analyse


class Words:
    """Stands in the place of Presidio's analyzers."""

    def finder(self, params: Mapping[str, Any]) -> Any:
        return policy.Finder(search({entity: WORDS[entity] for entity in params["entities"]}), POOL)


def params_of(**changed: Any) -> dict[str, Any]:
    more = {"detect": [], "replacement": {"with": "text", "text": "***"}, "presidio": {"entities": ["PERSON"]}}
    return testing.params(policy, **{**more, **changed})


def run(body: Any, content_type: str, direction: str = "request", **changed: Any) -> Any:
    params = params_of(**changed)
    with testing.prepared(policy, params, shared=Words()) as prepared:
        headers = {"content-type": content_type}
        request = testing.request("POST", headers=headers, prepared=prepared, timeout=60)
        ctx = request if direction == "request" else testing.response(headers=headers, request=request)
        hook = getattr(policy, f"on_{direction}_stream")
        return testing.run_stream(hook, testing.stream(body, sizes=5), ctx=ctx, params=params)


# ------------------------------------------------------------------ where it is found


@pytest.mark.parametrize("direction", ["request", "response"])
@pytest.mark.parametrize(
    ("content_type", "body", "masked"),
    [
        ("application/json", '{"a":["Ada","b"],"Ada":1}', '{"a":["***","b"],"Ada":1}'),
        ("application/json", '{"a": "b"}', '{"a": "b"}'),
        ("application/x-ndjson", '"Ada"\n\n{"a": 1}\n', '"***"\n\n{"a": 1}\n'),
        ("application/x-www-form-urlencoded", "a=Ada&Ada=1%20&a=b", "a=%2A%2A%2A&a=b&Ada=1%20"),
        ("text/plain", "Ada and\nAda", "*** and\n***"),
        ("text/plain; charset=utf-16", "\ufeffAda", "\ufeff***"),
    ],
)
def test_whole_texts_are_masked_where_others_are(content_type: str, body: str, masked: str, direction: str) -> None:
    encoding = "utf-16-le" if "utf-16" in content_type else "utf-8"
    result = run(body.encode(encoding), content_type, direction)
    assert result.rejected is None
    assert sorted(result.body.decode(encoding).split("&")) == sorted(masked.split("&"))


def test_places_are_those_of_the_parameters() -> None:
    body = '{"to":"Ada","text":"Ada","more":{"by":"Ada"}}'
    result = run(body, "application/json", exclude=["/to", "/more"])
    assert json.loads(result.body) == {"to": "Ada", "text": "***", "more": {"by": "Ada"}}


def test_headers_and_the_query() -> None:
    params = params_of(headers=["x-user"], query=True)
    with testing.prepared(policy, params, shared=Words()) as prepared:
        request = testing.request(headers={"x-user": "is Ada"}, query="of=Ada&as=b", prepared=prepared)
        action = policy.on_request(request, params)
        assert (action.set_headers, action.query) == ({"x-user": ["is ***"]}, "of=%2A%2A%2A&as=b")
        answer = policy.on_response(testing.response(headers={"x-user": "Ada"}, request=request), params)
        assert answer.set_headers == {"x-user": ["***"]}


@pytest.mark.parametrize(("direction", "status"), [("request", 415), ("response", 502)])
def test_events_are_refused_whatever_other_types_do(direction: str, status: int) -> None:
    result = run(SseEvent("Ada").encode(), "text/event-stream", direction, otherTypes="pass")
    assert result.rejected.status_code == status
    assert "whole texts" in result.rejected.body


def test_a_text_that_is_too_large_is_refused() -> None:
    assert run("a" * 1025, "text/plain", maxBytes=1024).rejected.status_code == 400
    assert run("a" * 1024, "text/plain", maxBytes=1024).rejected is None


def test_what_cannot_be_decoded_goes_on() -> None:
    assert run(b"\xff Ada \xfe", "text/plain").body == b"\xff *** \xfe"
    assert run(b'"\\ud83d Ada"', "application/json").body == b'"\\ud83d ***"'


# ------------------------------------------------------------------ several findings


def masked(text: str, entities: list[str], **changed: Any) -> str:
    body = run(text.encode(), "text/plain", presidio={"entities": entities}, **changed).body
    return str(body.decode())


def test_no_part_of_what_overlaps_is_left() -> None:
    text = "is Ada Lovelace the First here"
    replacements = {"PERSON": {"with": "text", "text": "P"}, "NICK_NAME": {"with": "text", "text": "N"}}
    assert masked(text, ["PERSON", "NICK_NAME"], replacements=replacements) == "is PN here"


def test_beside_detectors_of_its_own() -> None:
    """Of equal spans the policy's own kind counts, of others the one that begins first."""
    own = {"with": "text", "text": "own"}
    text = "mail ada@example.org, x-Ada, Ada-x"
    patterns = [{"name": "name", "regex": "x-Ada|Ada-x"}]
    result = masked(
        text, ["PERSON", "MAIL"], detect=["email"], patterns=patterns, replacements={"email": own, "name": own}
    )
    assert result == "mail own, own, own"


def test_each_entity_is_counted() -> None:
    testing.reset_metrics(policy)
    masked("Ada ada@example.org Ada", ["PERSON", "MAIL"])
    counted = testing.metric(policy, "pii_masked_total")
    assert [counted.value(direction="request", detector=entity) for entity in ("PERSON", "MAIL")] == [2, 1]


def test_tokens_with_the_names_of_entities_come_back() -> None:
    changed = {"directions": ["request"], "replacement": {"with": "token"}, "presidio": {"entities": ["NICK_NAME"]}}
    params = params_of(**changed)
    with testing.prepared(policy, params, shared=Words()) as prepared:
        headers = {"content-type": "text/plain", "x": "Lovelace the First"}
        ctx = testing.request("POST", headers=headers, prepared=prepared)
        policy.on_request(ctx, {**params, "headers": ["x"]})
        (token,) = ctx.metadata["secret_pii_mask"]
        assert re.fullmatch(r"\[NICK_NAME:[a-z2-7]{16}\]", token)
        response = testing.response(headers={"content-type": "text/plain"}, request=ctx)
        for sizes in range(1, 30):
            stream = testing.stream(f"It is {token}.".encode(), sizes=sizes)
            result = testing.run_stream(policy.on_response_stream, stream, ctx=response, params=params)
            assert result.body == b"It is Lovelace the First."


# ------------------------------------------------------------------ long texts


def test_windows_do_not_affect_what_is_found() -> None:
    """Wherever a name stands in a text: before, over and after the edges of windows. A part of it has a match too."""
    analyse = search({"PERSON": WORDS["PERSON"]})
    finder = policy.Finder(analyse, POOL)
    for before in range(1100):
        text = f"{'x' * before} Ada Lovelace {EMOJI} Ada {'y' * 100}"
        whole = [match[:2] for match in analyse(text)]
        assert len(whole) == 2
        assert finder.find_now(text)["PERSON"] == whole
    assert asyncio.run(finder.find(text))["PERSON"] == whole


def test_overlapping_matches_of_an_entity_are_one_span() -> None:
    found = [(0, [presidio.Match(0, 9, "A"), presidio.Match(2, 5, "A")]), (4, [presidio.Match(3, 8, "A")])]
    assert presidio.spans_by_entity(found) == {"A": [(0, 12)]}
    apart = [(0, [presidio.Match(5, 6, "A"), presidio.Match(0, 5, "A"), presidio.Match(1, 2, "B")])]
    assert presidio.spans_by_entity(apart) == {"A": [(0, 5), (5, 6)], "B": [(1, 2)]}


@given(length=st.integers(1, 3000))
def test_windows_have_all_of_a_text(length: int) -> None:
    text = "x" * length
    cut = list(presidio.windows(text))
    assert max(len(window) for _, window in cut) <= presidio.WINDOW
    assert cut[-1][0] + len(cut[-1][1]) == length
    assert all(later[0] == before[0] + presidio.WINDOW - presidio.OVERLAP for before, later in pairwise(cut))


def test_a_cancelled_search_ends_with_its_window() -> None:
    searched: list[str] = []
    begun, may_end = threading.Event(), threading.Event()

    def analyse(text: str) -> list[Any]:
        searched.append(text)
        begun.set()
        may_end.wait(30)
        return []

    async def cancel() -> None:
        finding = asyncio.create_task(policy.Finder(analyse, POOL).find("x" * 5000))
        await asyncio.to_thread(begun.wait, 30)
        finding.cancel()
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await finding

    asyncio.run(cancel())
    POOL.submit(int).result(30)  # all that was waiting has run
    assert len(searched) == 1


# ------------------------------------------------------------------ what is refused at deployment


def test_a_missing_package_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    message = (
        r"presidio: expected the package of presidio_analyzer in the environment of the policy's group, got none .*; "
        r'write group: presidio and requirements: \["presidio-analyzer>=2\.2\.366,<3"\] beside pii-mask in build\.yaml'
    )
    with (
        testing.setup(policy) as shared,
        pytest.raises(ValueError, match=message),
        testing.prepared(policy, params_of(), shared=shared),
    ):
        pass


@pytest.mark.parametrize(
    ("entity", "model", "message"),
    [
        ("PERSON", "", "expected some of US_SSN, which Presidio finds in the language en with no model.*got PERSON"),
        ("PERSON", "names", "expected some of US_SSN, .* with the model names; got PERSON"),
        ("URL", "", "expected others than URL, since it takes seconds"),
    ],
)
def test_entities_that_are_not_found_are_refused(entity: str, model: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        presidio.refuse_unknown([entity], ["US_SSN", "URL"], "en", model)


@pytest.mark.parametrize(
    ("presidio_params", "message"),
    [
        ({}, "entities"),
        ({"entities": []}, "entities"),
        ({"entities": ["person"]}, "entities"),
        ({"entities": ["PERSON"], "minScore": 1.1}, "minScore"),
        ({"entities": ["PERSON"], "language": "english"}, "language"),
        ({"entities": ["PERSON"], "model": "../names"}, "model"),
        ({"entities": ["PERSON"], "threshold": 0.5}, "threshold"),
    ],
)
def test_the_schema_refuses(presidio_params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        testing.params(policy, presidio=presidio_params)


def test_the_schema_has_defaults() -> None:
    filled = testing.params(policy, presidio={"entities": ["PERSON"]})["presidio"]
    assert (filled["language"], filled["minScore"], "model" in filled) == ("en", 0.5, False)
