import time
from typing import Any

import pytest
from sdk.policy import ImmediateResponse

from sdk import testing

policy = testing.load_policy(__file__)
PARAMS = testing.params(maxEntries=3, maxBytes=100, vary=["accept"])
FRESH = {"cache-control": "max-age=60", "content-type": "text/plain"}


@pytest.fixture
def cache() -> Any:
    return policy.prepare(PARAMS)


def ask(cache: Any, path: str = "/a", headers: Any = (), method: str = "GET", **more: Any) -> Any:
    """The action, and the context that an answer needs."""
    ctx = testing.request(method, path, headers=headers, prepared=cache, **more)
    return policy.on_request(ctx, PARAMS), ctx


def answer(ctx: Any, headers: Any = FRESH, body: bytes = b"one", status: int = 200) -> None:
    assert policy.on_response(testing.response(status, headers=headers, body=body, request=ctx), PARAMS) is None


def hits(cache: Any, path: str = "/a", headers: Any = (), **more: Any) -> bool:
    return isinstance(ask(cache, path, headers, **more)[0], ImmediateResponse)


def test_what_is_fresh_is_answered_with_its_headers_and_its_age(cache: Any) -> None:
    action, ctx = ask(cache)
    assert action is None
    answer(ctx, {**FRESH, "age": "7", "content-length": "3", "x-a": ["1", "2"]})
    hit, _ = ask(cache)
    assert hit == ImmediateResponse(
        200, {"cache-control": ["max-age=60"], "content-type": ["text/plain"], "x-a": ["1", "2"], "age": "7"}, b"one"
    )


def test_it_is_asked_for_anew_when_its_time_is_over(cache: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(ask(cache)[1], {**FRESH, "age": "20"})
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 39)
    assert hits(cache)
    monkeypatch.setattr(time, "monotonic", lambda: now + 41)
    assert not hits(cache)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"cache-control": "max-age=0"},
        {"cache-control": "max-age=60, no-store"},
        {"cache-control": ["max-age=60", 'Private="x-a"']},
        {"cache-control": "no-cache, max-age=60"},
        {"cache-control": "max-age=60, s-maxage=0"},
        {"cache-control": "max-age=soon"},
        {**FRESH, "set-cookie": "a=b"},
        {**FRESH, "vary": "accept, X-User"},
        {**FRESH, "vary": "*"},
        {**FRESH, "content-encoding": "gzip"},
    ],
)
def test_what_is_not_for_everybody_or_names_no_time_is_not_kept(cache: Any, headers: Any) -> None:
    answer(ask(cache)[1], headers)
    assert not hits(cache)


@pytest.mark.parametrize("status", [201, 206, 404, 500])
def test_only_a_200_is_kept(cache: Any, status: int) -> None:
    answer(ask(cache)[1], status=status)
    assert not hits(cache)


def test_other_requests_get_other_answers(cache: Any) -> None:
    answer(ask(cache, headers={"accept": "text/plain"})[1], {**FRESH, "vary": "Accept, Accept-Encoding"})
    assert hits(cache, headers={"accept": "text/plain", "accept-encoding": "gzip"})
    assert not hits(cache, headers={"accept": "text/html"})
    assert not hits(cache, "/b", {"accept": "text/plain"})
    assert not hits(cache, headers={"accept": "text/plain"}, query="a=1")
    assert not hits(cache, headers={"accept": "text/plain"}, authority="other")
    assert not hits(cache, headers={"accept": "text/plain"}, method="POST")


@pytest.mark.parametrize("header", ["range", "if-none-match", "if-range"])
def test_partial_and_conditional_requests_go_upstream(cache: Any, header: str) -> None:
    answer(ask(cache)[1])
    assert not hits(cache, headers={header: "x"})
    answer(ask(cache, "/b", {header: "x"})[1])
    assert not hits(cache, "/b")


@pytest.mark.parametrize("wish", ["no-cache", "no-store", "max-age=0"])
def test_who_wants_it_from_upstream_gets_it_from_there(cache: Any, wish: str) -> None:
    answer(ask(cache)[1])
    assert not hits(cache, headers={"cache-control": wish})


def test_with_authorization_only_what_is_said_to_be_for_all(cache: Any) -> None:
    token = {"authorization": "Bearer t"}
    answer(ask(cache, headers=token)[1])
    assert not hits(cache, headers=token)
    answer(ask(cache, headers=token)[1], {"cache-control": "public, max-age=60"})
    assert hits(cache, headers=token)
    assert not hits(cache)


def test_the_answers_used_last_stay_as_many_as_fit(cache: Any) -> None:
    for path in ("/a", "/b", "/c"):
        answer(ask(cache, path)[1], body=b"x" * 30)
    assert hits(cache, "/a")
    answer(ask(cache, "/d")[1], body=b"x" * 30)
    assert [hits(cache, path) for path in ("/a", "/b", "/c", "/d")] == [True, False, True, True]
    answer(ask(cache, "/e")[1], body=b"x" * 90)
    assert [hits(cache, path) for path in ("/a", "/c", "/d", "/e")] == [False, False, False, True]
    answer(ask(cache, "/f")[1], body=b"x" * 101)
    assert [hits(cache, path) for path in ("/e", "/f")] == [True, False]
