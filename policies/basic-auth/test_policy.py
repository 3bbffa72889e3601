import asyncio
import base64
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import argon2
import bcrypt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sdk import testing
from sdk.policy import ImmediateResponse, RequestAction, RequestContext, UpstreamRequestModifications

policy = testing.load_policy(__file__)
HASHER = argon2.PasswordHasher(time_cost=1, memory_cost=7 * 1024, parallelism=1)
ANN, BOB = HASHER.hash("ann's pässword"), bcrypt.hashpw(b"bob's password", bcrypt.gensalt(10)).decode()
USERS = [
    {"username": "ann", "passwordHash": testing.secret(ANN), "scopes": ["read"]},
    {"username": "bøb", "passwordHash": testing.secret(BOB, name="bob")},
]
DEFAULTS = {"users": USERS, "realm": "shop", "cacheSeconds": 60, "hashesAtOnce": 2, "forward": False, "userHeader": ""}


class Hashing:
    """Replaces `verify`: records the passwords that it hashes, and how many at most at the same time."""

    def __init__(self) -> None:
        self.hashed: list[str] = []
        self.most_at_once = self.under_way = 0
        self.go = threading.Event()
        self.go.set()
        self._lock, self._verify = threading.Lock(), policy.verify

    def __call__(self, password_hash: Any, password: str) -> bool:
        with self._lock:
            self.hashed.append(password)
            self.under_way += 1
            self.most_at_once = max(self.most_at_once, self.under_way)
        assert self.go.wait(30)
        right: bool = self._verify(password_hash, password)
        with self._lock:
            self.under_way -= 1
        return right


@pytest.fixture
def hashing(monkeypatch: pytest.MonkeyPatch) -> Hashing:
    counted = Hashing()
    monkeypatch.setattr(policy, "verify", counted)
    return counted


def basic(name: str, password: str, charset: str = "utf-8") -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode(charset)).decode()


class Client:
    """Sends requests to an instance of the policy."""

    def __init__(self, prepared: Any, params: dict[str, Any]) -> None:
        self._prepared, self._params = prepared, params

    async def send(self, *lines: str, headers: dict[str, Any] | None = None) -> tuple[RequestAction, RequestContext]:
        sent = {"authorization": list(lines), **(headers or {})}
        ctx = testing.request(headers=sent, prepared=self._prepared)
        return await policy.on_request(ctx, self._params), ctx

    async def status(self, *lines: str) -> int:
        """Returns the status of the client's answer; 0 if the request passes."""
        action, _ = await self.send(*lines)
        return action.status_code if isinstance(action, ImmediateResponse) else 0


@asynccontextmanager
async def instance(**more: Any) -> AsyncIterator[Client]:
    params = testing.params(DEFAULTS | more)
    async with testing.prepared(policy, params) as prepared:
        yield Client(prepared, params)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([basic("ann", "ann's pässword")], 0),
        ([basic("bøb", "bob's password")], 0),
        ([basic("bo\u0338b".replace("o\u0338", "ø"), "bob's password")], 0),
        ([basic("ann", "ann's pa\u0308ssword")], 0),
        ([basic("ann", "ann's pässword").replace("Basic", "bAsIc")], 0),
        ([basic("ann", "bob's password")], 401),
        ([basic("eve", "ann's pässword")], 401),
        ([basic("ann", "")], 401),
        ([basic("", "")], 401),
        ([basic("ann", ANN)], 401),
        ([basic("ann", "ann's pässword", "latin-1")], 401),
        ([basic("ann", "ann's pässword")] * 2, 401),
        (["Bearer abc"], 401),
        (["Basic"], 401),
        (["Basic !!!"], 401),
        (["Basic " + base64.b64encode(b"no colon").decode()], 401),
        (["Basic " + base64.b64encode(b"ann:\xff\xfe").decode()], 401),
        ([basic("ann", "ann's pässword\0")], 401),
        ([basic("bøb", "bob's password\0more")], 401),
        ([basic("ann", "x" * 100_000)], 401),
        ([], 401),
    ],
)  # fmt: skip
def test_only_valid_passwords_pass(lines: list[str], expected: int) -> None:
    async def run() -> None:
        async with instance() as client:
            action, ctx = await client.send(*lines)
            if not expected:
                assert isinstance(action, UpstreamRequestModifications)
                assert ctx.identity is not None
                return
            assert isinstance(action, ImmediateResponse)
            assert (action.status_code, ctx.identity) == (expected, None)
            assert action.headers["www-authenticate"] == 'Basic realm="shop", charset="UTF-8"'
            assert action.body == '{"type":"about:blank","title":"Unauthorized","status":401}'

    asyncio.run(run())


def test_headers_for_the_upstream() -> None:
    async def run() -> None:
        async with instance(userHeader="x-user") as client:
            action, ctx = await client.send(basic("bøb", "bob's password"), headers={"x-user": "ann"})
            assert isinstance(action, UpstreamRequestModifications)
            assert (action.remove_headers, action.set_headers) == (["authorization"], {"x-user": "b%C3%B8b"})
            assert ctx.identity is not None
            assert (ctx.identity.subject, ctx.identity.method, ctx.identity.scopes) == ("bøb", "basic", ())
        async with instance(forward=True) as client:
            action, ctx = await client.send(basic("ann", "ann's pässword"))
            assert action == UpstreamRequestModifications()
            assert ctx.identity is not None
            assert ctx.identity.scopes == ("read",)

    asyncio.run(run())


def test_only_valid_credentials_are_cached(hashing: Hashing) -> None:
    async def run() -> None:
        right, wrong = basic("ann", "ann's pässword"), basic("ann", "other")
        with testing.clock() as clock:
            async with instance() as client:
                assert [await client.status(pair) for pair in (right, right, wrong, wrong, right)] == [
                    0,
                    0,
                    401,
                    401,
                    0,
                ]
                assert hashing.hashed == ["ann's pässword", "other", "other"]
                clock.advance(61)
                assert await client.status(right) == 0
                assert len(hashing.hashed) == 4
            async with instance(cacheSeconds=0) as client:
                assert [await client.status(right) for _ in range(2)] == [0, 0]
                assert len(hashing.hashed) == 6

    asyncio.run(run())


def test_the_time_of_an_answer_does_not_show_which_users_exist(hashing: Hashing) -> None:
    """Each attempt costs one hash, with a known name or an unknown one; malformed credentials cost none."""

    async def run() -> None:
        async with instance() as client:
            for name in ("ann", "bøb", "eve", "mallory", ""):
                before = len(hashing.hashed)
                assert await client.status(basic(name, "guess")) == 401
                assert len(hashing.hashed) == before + 1
            assert await client.status("Basic !!!") == 401
            assert len(hashing.hashed) == 5

    asyncio.run(run())


def test_an_unknown_user_is_not_let_in_by_anothers_password() -> None:
    async def run() -> None:
        async with instance(users=[USERS[0]]) as client:
            for name in ("eve", "Ann", "ann ", "mallory"):
                assert await client.status(basic(name, "ann's pässword")) == 401

    asyncio.run(run())


def test_equal_credentials_are_hashed_once_and_the_number_of_hashes_is_limited(hashing: Hashing) -> None:
    async def run() -> None:
        hashing.go.clear()
        async with instance() as client:
            right = basic("ann", "ann's pässword")
            same = [asyncio.create_task(client.status(right)) for _ in range(20)]
            others = [asyncio.create_task(client.status(basic("ann", f"guess {n}"))) for n in range(100)]
            refused, _ = await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
            assert {task.result() for task in refused} == {503}
            gone = same[0]
            gone.cancel()
            hashing.go.set()
            assert set(await asyncio.gather(*same[1:])) == {0}
            answers = await asyncio.gather(*others)
            assert sorted(set(answers)) == [401, 503]
            assert answers.count(401) == 63
            assert hashing.hashed.count("ann's pässword") == 1
            assert hashing.most_at_once == 2

    asyncio.run(run())


def test_a_password_of_more_than_72_bytes_is_invalid_for_bcrypt(hashing: Hashing) -> None:
    async def run() -> None:
        long = "x" * 72
        known = testing.secret(bcrypt.hashpw(long.encode(), bcrypt.gensalt(10)).decode())
        async with instance(users=[{"username": "ann", "passwordHash": known}]) as client:
            assert await client.status(basic("ann", long)) == 0
            assert await client.status(basic("ann", f"{long}y")) == 401
            assert len(hashing.hashed) == 2

    asyncio.run(run())


def test_users_of_a_file() -> None:
    async def run() -> None:
        text = f"# users\n\nann:{ANN}\r\nbøb:{BOB.replace('$2b$', '$2y$')}\n"
        async with instance(users=[], htpasswd=testing.secret(text, name="users")) as client:
            assert await client.status(basic("ann", "ann's pässword")) == 0
            assert await client.status(basic("bøb", "bob's password")) == 0
            assert await client.status(basic("# users", "")) == 401

    asyncio.run(run())


@pytest.mark.parametrize(
    ("htpasswd", "expected"),
    [
        ("ann", "htpasswd: line 1: expected USER:HASH, got something else"),
        ("# no user\n", "htpasswd: expected a user, got none"),
        ("ann:planted", "htpasswd: line 1: expected a hash, $argon2id$… or $2y$…, got something else; create one with"),
        ("ann:{SHA}planted=", "expected a hash"),
        ("ann:$apr1$planted", "expected a hash"),
        (f"ann:{ANN}\nann:{BOB}", "htpasswd: line 2: expected each user once, got ann twice"),
        (f"ann:{BOB.replace('$10$', '$04$')}", "expected bcrypt of cost 10 to 13, got 4"),
        (f"ann:{BOB.replace('$10$', '$31$')}", "expected bcrypt of cost 10 to 13, got 31"),
        (f"ann:{ANN.replace('m=7168', 'm=4194304')}", "expected argon2id with 7 to 256 MiB"),
        (f"ann:{ANN.replace('argon2id', 'argon2i')}", "expected argon2id, got another kind"),
    ],
    ids=range(10),  # hashes are other ones in each process
)
def test_errors_do_not_contain_the_hash(htpasswd: str, expected: str) -> None:
    with pytest.raises(ValueError, match="expected") as refusal:
        policy.users_of({"htpasswd": testing.secret(htpasswd)})
    assert expected in str(refusal.value)
    assert "planted" not in str(refusal.value)
    assert BOB[10:] not in str(refusal.value)


@settings(max_examples=200)
@given(st.one_of(st.text(), st.binary().map(lambda raw: "Basic " + base64.b64encode(raw).decode())))
def test_any_header_is_parsed_or_refused(value: str) -> None:
    credentials = policy.credentials(testing.request(headers={"authorization": [value]}))
    assert credentials is None or (":" not in credentials[0] and "\0" not in "".join(credentials))
