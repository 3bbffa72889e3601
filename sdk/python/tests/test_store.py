import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from gatewright import store, testing
from gatewright.store import AsyncStore, Limit, Reserved, Store, StoreFullError, StoreUnavailableError

CASES = json.loads((Path(__file__).parents[3] / "conformance" / "store.json").read_text())


def _ask(asked: Store, step: dict[str, Any]) -> object:
    key = step["key"]
    if len(key) > 1000:
        key = key[1:]  # a key of the table has no colon before it, as those of a store without a name
    match step["do"]:
        case "get":
            value = asked.get(key)
            return None if value is None else value.decode()
        case "set":
            return asked.set(key, step["value"], ttl=step["ttl"], if_absent=step["ifAbsent"])
        case "increment":
            return asked.increment(key, step["by"], ttl=step["ttl"])
        case "expire":
            return asked.expire(key, step["ttl"])
        case "delete":
            return asked.delete(key)
        case "throttle":
            answer = asked.throttle(key, Limit(step["rate"], step["per"], step["burst"]), step["cost"])
            return {
                "allowed": answer.allowed, "remaining": answer.remaining, "retryAfter": answer.retry_after,
                "resetAfter": answer.reset_after,
            }  # fmt: skip
    return _ask_budget(asked, key, step)


def _ask_budget(asked: Store, key: str, step: dict[str, Any]) -> object:
    match step["do"]:
        case "reserve":
            times = {"at_most": step["atMost"], "hold": step["hold"], "ttl": step["ttl"]}
            reserved = asked.reserve(key, step["name"], step["amount"], **times)
            return {"allowed": reserved.allowed, "spent": reserved.spent, "reserved": reserved.reserved}
        case "settle":
            return asked.settle(key, step["name"], step["amount"])
    raise AssertionError(step)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_it_does_what_the_engine_does(case: dict[str, Any]) -> None:
    with testing.clock(0.0) as clock, testing.store():
        asked = Store()
        for number, step in enumerate(case["steps"]):
            if step["do"] == "advance":
                clock.advance(step["seconds"])
            elif "error" in step:
                with pytest.raises(ValueError, match="expected"):
                    _ask(asked, step)
            else:
                assert _ask(asked, step) == step["gives"], f"step {number}"


def test_a_kept_store_has_keys_of_its_own_and_refuses_where_it_is_full() -> None:
    with testing.store() as entries:
        kept, plain = Store(keep=True), Store()
        assert kept.set("a", "1", ttl=1)
        assert plain.get("a") is None
        assert Store(keep=True, shared=True).get("a") is None
        entries.full = True
        with pytest.raises(StoreFullError):
            kept.set("b", "1", ttl=1, if_absent=True)
        with pytest.raises(StoreFullError):
            kept.increment("b", ttl=1)
        with pytest.raises(StoreFullError):
            kept.throttle("b", Limit(1))
        with pytest.raises(StoreFullError):
            kept.reserve("b", "r", 1, at_most=1, hold=1, ttl=1)
        assert not kept.set("a", "2", ttl=1, if_absent=True)
        assert kept.get("b") is None
        assert plain.set("b", "1", ttl=1)


def test_each_store_of_a_test_has_entries_of_its_own_but_within_one_store() -> None:
    Store().set("a", "1", ttl=1)
    assert Store().get("a") is None
    with testing.store():
        Store().set("a", "1", ttl=1)
        assert Store().get("a") == b"1"
        assert Store("other").get("a") is None
        assert Store(shared=True).get("a") is None


def test_a_store_can_be_away() -> None:
    with testing.store(away=True) as there:
        asked = Store()
        with pytest.raises(StoreUnavailableError):
            asked.get("a")
        there.away = False
        assert asked.get("a") is None
        assert there.calls == 2


def test_an_async_store_is_the_same_awaited() -> None:
    async def uses() -> None:
        async_store = AsyncStore("n")
        assert await async_store.set("a", b"1", ttl=1)
        assert await async_store.get("a") == b"1"
        assert await async_store.increment("a", 2, ttl=1) == 3
        assert await async_store.expire("a", 5)
        assert await async_store.delete("a")
        assert (await async_store.throttle("a", Limit(1))).remaining == 0
        assert await async_store.reserve("a", "r", 2, at_most=3, hold=1, ttl=1) == Reserved(True, 0, 2)
        assert await async_store.settle("a", b"r", 1)

    asyncio.run(uses())


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: Store("a b"), "name: expected"),
        (lambda: Store("x" * 65), "name: expected"),
        (lambda: Store(timeout=0), "timeout: expected"),
        (lambda: Store().set("a", b"x" * (store.MAX_VALUE + 1), ttl=1), "value: expected"),
        (lambda: Store().get("x" * 1024), "key: expected 1 to 1023 bytes, got 1024"),
        (lambda: Store().set("a", b"", ttl=float("nan")), "ttl: expected"),
        (lambda: Store().set("a", b"", ttl=float("inf")), "ttl: expected"),
        (lambda: Store().increment("a", 2**63, ttl=1), "by: expected"),
        (lambda: Limit(1, float("nan")), "limit: expected"),
        (lambda: Limit(2_000_000, 1), "limit: expected at most"),
        (lambda: Limit(1, 86_400, 1000), "limit: expected a burst"),
        (lambda: Store().throttle("a", Limit(1), -1), "cost: expected"),
        (lambda: Store().reserve("a", "r", 1, at_most=1, hold=2, ttl=1), "hold: expected 0.001 seconds to the ttl, 1"),
        (lambda: Store().reserve("a", "r", 1, at_most=2**53, hold=1, ttl=1), "at_most: expected 0 to"),
        (lambda: Store().settle("a", "", 1), "name: expected 1 to 64 bytes, got 0"),
    ],
)
def test_what_is_out_of_bounds_is_refused(make: Any, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        make()
