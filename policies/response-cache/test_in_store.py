"""Responses in the store: they are read as they were written, and all processes share and drop them."""

from __future__ import annotations

import asyncio
import sys
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from gatewright.store import Call
from hypothesis import given
from hypothesis import strategies as st
from sdk import testing
from sdk.policy import ImmediateResponse, PolicyMetadata
from sdk.store import MAX_VALUE
from sdk.testing import MovedClock, StoreInMemory

policy = testing.load_policy(__file__)
Answer = sys.modules[policy.StoreCache.__module__].Answer
in_store = sys.modules[policy.StoreCache.__module__]
NAMES, ONE, OTHER = ("accept",), {"accept": "a"}, {"accept": "b"}


@pytest.fixture(autouse=True)
def time() -> Iterator[MovedClock]:
    with testing.clock() as clock:
        yield clock


@pytest.fixture
def store() -> Iterator[StoreInMemory]:
    with testing.store() as store:
        yield store


def answer(body: bytes = b"kept", fresh: float = 60, **more: Any) -> Any:
    now = policy.clock.monotonic()
    return Answer(200, {"x-a": ["1", "ü\udcff"]}, body, now - 5.0, now + fresh, True, **more)


@given(st.binary(max_size=200), st.text(max_size=20))
def test_a_decoded_entry_is_the_encoded_one(body: bytes, key: str) -> None:
    kept = answer(body, grace=7.0, on_error=9.0)
    assert in_store.decode("k", in_store.encode("k", kept)) == kept
    index = in_store.Index("g", ("accept", key))
    assert in_store.decode("k", in_store.encode("k", index)) == index


@given(st.binary(max_size=200))
def test_values_that_others_have_written_are_ignored(value: bytes) -> None:
    assert in_store.decode("k", value) is None
    assert in_store.decode("k", in_store.checksum("k", value) + value) is None


@given(st.data())
def test_changed_or_truncated_entries_are_ignored(data: st.DataObject) -> None:
    value = bytearray(in_store.encode("k", answer(b"a body of some length")))
    at = data.draw(st.integers(0, len(value) - 1))
    assert in_store.decode("k", bytes(value[:at])) is None
    value[at] ^= data.draw(st.integers(1, 255))
    assert in_store.decode("k", bytes(value)) is None


def of_version(version: bytes, rest: bytes) -> bytes:
    """Returns the entry of the key `k` in this version of the format."""
    return zlib.crc32(rest, zlib.crc32(version + b"k")).to_bytes(4, "big") + rest


def test_entries_of_another_version_or_key_are_ignored() -> None:
    value = in_store.encode("k", answer())
    assert in_store.decode("l", value) is None
    assert in_store.decode("k", of_version(in_store.FORMAT, value[4:])) is not None
    assert in_store.decode("k", of_version(b"0", value[4:])) is None


@pytest.mark.parametrize("headers", [
    {"x-a": ["1\r\nset-cookie: a=1"]}, {"x-a\n": ["1"]}, {":status": ["200"]}, {"content-length": ["0"]}, {"x-a": [1]},
    {"x-a": []}, {"x-a": None}, {"x-a": "\ud800"},
])  # fmt: skip
def test_entries_that_no_response_could_have_are_ignored(headers: Any) -> None:
    fields = ["id", 200, headers, True, 0.0, 60.0, 0.0, 0.0]
    assert in_store.decode("k", in_store.add_checksum("k", fields, b"")) is None
    assert in_store.decode("k", in_store.add_checksum("k", [*fields[:2], {}, *fields[3:]], b"")) is not None
    assert in_store.decode("k", in_store.add_checksum("k", ["id", 99, {}, *fields[3:]], b"")) is None
    assert in_store.decode("k", in_store.checksum("k", b"[" * 100_000) + b"[" * 100_000) is None


def test_a_lookup_costs_one_call_or_two_if_the_response_varies(store: StoreInMemory) -> None:
    async def scenario() -> None:
        cache = in_store.StoreCache("one", 60)
        assert await cache.put("k", (), ONE, answer()) == ""
        assert await cache.put("v", NAMES, ONE, answer(b"a")) == ""
        assert await cache.put("v", NAMES, OTHER, answer(b"b")) == ""
        for key, values, body, calls in (("k", ONE, b"kept", 1), ("v", ONE, b"a", 2), ("v", OTHER, b"b", 2)):
            before = store.calls
            assert (await cache.get(key, values)).body == body
            assert store.calls - before == calls
        assert await cache.get("v", {}) is None

    asyncio.run(scenario())


def test_an_answer_of_a_deleted_index_is_not_found_again(store: StoreInMemory) -> None:
    """Also if the index is deleted while another answer is written to it."""

    async def scenario() -> None:
        cache, other = (in_store.StoreCache("one", 60) for _ in range(2))
        await cache.put("k", NAMES, ONE, answer())
        await other.forget("k")
        assert await cache.get("k", ONE) is None
        await cache.put("k", NAMES, OTHER, answer())
        assert await cache.get("k", ONE) is None
        with pytest.MonkeyPatch.context() as patch:
            real = store.call_async

            async def dropped(call: Call, timeout: float) -> Any:
                if call.operation == "expire":
                    await real(Call("delete", call.key), timeout)
                return await real(call, timeout)

            patch.setattr(store, "call_async", dropped)
            assert await cache.put("k", NAMES, ONE, answer()) == "store"
        assert await cache.get("k", OTHER) is None

    asyncio.run(scenario())


@pytest.mark.usefixtures("store")
def test_vary_may_change() -> None:
    async def scenario() -> None:
        cache = in_store.StoreCache("one", 60)
        for names in (NAMES, (), ("accept", "accept-language"), NAMES):
            await cache.put("k", names, ONE, answer(str(names).encode()))
            assert (await cache.get("k", ONE)).body == str(names).encode()
            assert (await cache.get("k", OTHER) is None) == bool(names)

    asyncio.run(scenario())


def test_an_entry_expires_when_it_may_no_longer_be_served(time: MovedClock, store: StoreInMemory) -> None:
    async def scenario() -> None:
        cache = in_store.StoreCache("one", 120)
        await cache.put("k", (), {}, answer(grace=10.0, on_error=20.0))
        await cache.put("old", (), {}, answer(fresh=-1.0))
        assert await cache.get("old", {}) is None
        time.advance(79)
        assert (await cache.get("k", {})).age == 84
        time.advance(1)
        assert await cache.get("k", {}) is None
        assert all(ends <= policy.clock.monotonic() for _, ends in store._values.values())

    asyncio.run(scenario())


def test_an_answer_of_a_node_whose_clock_is_ahead_is_not_fresh_for_longer(time: MovedClock) -> None:
    value = in_store.encode("k", answer())
    time.advance(-3600)
    assert in_store.decode("k", value).left == 65
    assert in_store.decode("k", value).age == 0


@pytest.mark.usefixtures("store")
def test_a_response_that_is_too_large_is_not_stored() -> None:
    async def scenario() -> None:
        cache = in_store.StoreCache("one", 60)
        for key, names in (("k", ()), ("v", NAMES)):
            assert await cache.put(key, names, ONE, answer(bytes(MAX_VALUE))) == "too-large"
            assert await cache.get(key, ONE) is None
            assert await cache.put(key, names, ONE, answer(bytes(MAX_VALUE - 1000))) == ""

    asyncio.run(scenario())


def test_calls_that_the_store_does_not_answer_are_counted(store: StoreInMemory) -> None:
    async def scenario() -> None:
        cache = in_store.StoreCache("one", 60)
        store.away = True
        before = {use: in_store.UNANSWERED.value(use=use) for use in ("get", "put", "forget", "claim")}
        uses = {
            "get": await cache.get("k", {}) is None,
            "put": await cache.put("k", (), {}, answer()) == "store",
            "forget": not await cache.forget("k"),
            "claim": await cache.claim(answer()),
        }
        assert all(uses.values())
        assert {use: in_store.UNANSWERED.value(use=use) - before[use] for use in uses} == dict.fromkeys(uses, 1)

    asyncio.run(scenario())


@pytest.mark.usefixtures("store")
def test_one_process_claims_the_revalidation_of_a_stale_answer(time: MovedClock) -> None:
    async def scenario() -> None:
        cache, other = (in_store.StoreCache("one", 60) for _ in range(2))
        stale = answer()
        assert [await cache.claim(stale), await other.claim(stale), await other.claim(answer())] == [True, False, True]
        time.advance(30)
        assert await other.claim(stale)

    asyncio.run(scenario())


PURGER = "token for purges of this cache"
PARAMS: dict[str, Any] = {
    "where": "store", "maxBytes": 1 << 20, "vary": ["accept"], "lifetimes": {}, "maxLifetimeSeconds": 86400,
    "clientDirectives": "honour", "cacheStatus": True, "version": "", "staleWhileRevalidateSeconds": 0,
    "staleIfErrorSeconds": 0, "purge": {"header": "x-cache-purge", "token": testing.secret(PURGER)},
}  # fmt: skip


class Process:
    """A process with an instance of the policy. upstream_requests: how many requests upstream got."""

    def __init__(self, params: dict[str, Any] = PARAMS, operation: str = "") -> None:
        self.params, self.upstream_requests = testing.params(params), 0
        about = PolicyMetadata("response-cache", "v1.0.0", operation=operation)
        with testing.prepared(policy, self.params, about) as prepared:
            self._prepared = prepared

    async def get(self, query: str = "", body: bytes = b"", method: str = "GET", headers: Any = ()) -> Any:
        """Returns the client's response; upstream varies by Accept and sends `body` (else `upstream_requests`)."""
        ctx = testing.request(method, "/x", query=query, headers=headers, prepared=self._prepared)
        if action := await policy.on_request(ctx, self.params):
            return action
        self.upstream_requests += 1
        body = body or str(self.upstream_requests).encode()
        kept = {"cache-control": "max-age=60", "vary": "accept"}
        changes = await policy.on_response(testing.response(headers=kept, body=body, request=ctx), self.params)
        return ImmediateResponse(200, dict(changes.append_headers) if changes else {}, body)


def test_a_purge_drops_all_responses_of_a_url_and_no_others() -> None:
    async def scenario() -> None:
        process = Process()
        ways: list[dict[str, Any]] = [{"headers": {"accept": "a"}}, {"headers": {"accept": "b"}}, {"query": "a=1"}]
        for way in ways:
            await process.get(**way)
        for method in ("GET", "PURGE"):
            assert (await process.get(method=method, headers={"x-cache-purge": PURGER})).status_code == 204
        assert [(await process.get(**way)).body for way in ways] == [b"4", b"5", b"3"]

    asyncio.run(scenario())


@pytest.mark.parametrize("token", ["", "x", PURGER[:-1], PURGER + " ", [PURGER, PURGER], "\udcff", "ü"])
def test_without_the_token_a_purge_is_refused(token: Any) -> None:
    async def scenario() -> None:
        process = Process()
        await process.get()
        refused = await process.get(headers={"x-cache-purge": token})
        assert refused.status_code == 403
        assert PURGER not in refused.body
        assert (await process.get()).body == b"1"

    asyncio.run(scenario())


@pytest.mark.parametrize(("params", "message"), [
    ({"where": "process"}, "where: store"),
    ({"purge": {"header": "x", "token": testing.secret("short")}}, "16 characters and more"),
])  # fmt: skip
def test_a_purge_needs_the_store_and_a_long_token(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Process(PARAMS | params)


@pytest.mark.usefixtures("store")
def test_processes_share_stored_and_dropped_responses() -> None:
    async def scenario() -> None:
        process, other = Process(), Process()
        drops: list[dict[str, Any]] = [{"method": "PUT"}, {"headers": {"x-cache-purge": PURGER}}]
        for drop in drops:
            await process.get(body=b"kept")
            assert (await other.get()).body == b"kept"
            await other.get(**drop)
            assert (await process.get(body=b"new")).body == b"new"
            await process.get(**drop)

    asyncio.run(scenario())


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("other", [
    (PARAMS | {"version": "2"}, ""), (PARAMS | {"vary": ["accept", "x-a"]}, ""), (PARAMS, "GET /x"),
], ids=str)  # fmt: skip
def test_attachments_of_an_api_share_nothing(other: tuple[dict[str, Any], str]) -> None:
    async def scenario() -> None:
        await Process().get()
        assert (await Process(*other).get(body=b"of the other")).body == b"of the other"
        turned = testing.secret("a token that has been changed")
        same = Process(PARAMS | {"purge": {"header": "x-cache-purge", "token": turned}})
        assert (await same.get(body=b"of the other")).body == b"1"

    asyncio.run(scenario())


def test_without_the_store_requests_go_upstream_and_a_purge_fails(store: StoreInMemory) -> None:
    async def scenario() -> None:
        process = Process()
        await process.get()
        store.away = True
        assert (await process.get()).headers == {"cache-status": "gatewright; fwd=uri-miss; detail=store"}
        assert (await process.get(method="PUT")).status_code == 200
        assert (await process.get(headers={"x-cache-purge": PURGER})).status_code == 503
        store.away = False
        assert (await process.get()).body == b"1"

    asyncio.run(scenario())
