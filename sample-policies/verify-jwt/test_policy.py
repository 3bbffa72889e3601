import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from sdk.policy import ImmediateResponse

from sdk import testing

policy = testing.load_policy(__file__)
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
CLAIMS = {"iss": "https://id.example", "aud": "orders", "sub": "ada", "scope": "read"}


class Issuer:
    """Publishes keys by HTTP, and signs with them."""

    def __init__(self) -> None:
        self.asked = 0
        self.down = False
        self.keys: dict[str, Any] = {"one": RSA_KEY}

    async def answer(self, _request: web.Request) -> web.Response:
        self.asked += 1
        if self.down:
            return web.Response(status=503)
        keys = [{**jwk_of(key), "kid": kid, "use": "sig"} for kid, key in self.keys.items()]
        return web.json_response({"keys": [*keys, {"kty": "oct", "k": "c2VjcmV0", "kid": "shared", "alg": "HS256"}]})

    @asynccontextmanager
    async def prepared(self, **more: Any) -> AsyncIterator[tuple[Any, dict[str, Any]]]:
        """What the policy has prepared, and its parameters."""
        application = web.Application()
        application.router.add_get("/jwks", self.answer)
        async with TestServer(application) as server:
            params = testing.params(
                {"algorithms": ["RS256", "ES256"], "refreshSeconds": 300, "leewaySeconds": 0} | more,
                jwksUri=str(server.make_url("/jwks")), issuer="https://id.example", audience="orders",
            )  # fmt: skip
            async with testing.prepared(policy, params) as keys:
                yield keys, params


def jwk_of(key: Any) -> dict[str, Any]:
    algorithm = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    return json.loads(algorithm.to_jwk(key.public_key()))  # type: ignore[no-any-return]


def token(key: Any = RSA_KEY, kid: str | None = "one", algorithm: str = "RS256", **claims: Any) -> str:
    wanted = {"exp": time.time() + 60, **CLAIMS, **claims}
    headers = {"kid": kid} if kid else {}
    return jwt.encode({name: value for name, value in wanted.items() if value is not None}, key, algorithm, headers)


async def ask(made: tuple[Any, dict[str, Any]], *authorization: str) -> Any:
    headers = [("authorization", line) for line in authorization]
    ctx = testing.request(headers=headers, prepared=made[0])
    action = await policy.on_request(ctx, made[1])
    return action if action is not None else ctx.metadata["jwt"]


def test_a_token_of_the_issuer_passes_and_its_claims_are_noted() -> None:
    async def run() -> None:
        issuer = Issuer()
        issuer.keys["two"] = EC_KEY
        async with issuer.prepared() as made:
            assert (await ask(made, f"Bearer {token()}"))["sub"] == "ada"
            assert (await ask(made, f"bearer {token(EC_KEY, 'two', 'ES256', aud=['x', 'orders'])}"))["scope"] == "read"
        assert issuer.asked == 1

    asyncio.run(run())


OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (lambda: token(exp=time.time() - 1), "expired"),
        (lambda: token(nbf=time.time() + 60), "not yet valid"),
        (lambda: token(aud="others"), "Audience"),
        (lambda: token(iss="https://evil.example"), "issuer"),
        (lambda: token(exp=None), '?exp? claim'),
        (lambda: token(OTHER_KEY), "Signature verification failed"),
        (lambda: token(algorithm="RS512"), "alg"),
        (lambda: token("secret" * 8, "shared", "HS256"), "no such key"),
        (lambda: token(None, "one", "none"), "alg"),
        (lambda: token(kid=None), "no such key"),
        (lambda: token()[:-8] + "AAAAAAAA", "Signature verification failed"),
        (lambda: "no.token", "segments"),
        (lambda: "", "segments"),
    ],
)  # fmt: skip
def test_any_other_is_refused(bad: Callable[[], str], why: str) -> None:
    async def run() -> Any:
        async with Issuer().prepared() as made:
            return await ask(made, f"Bearer {bad()}")

    action = asyncio.run(run())
    assert isinstance(action, ImmediateResponse)
    assert action.status_code == 401
    assert why in str(action.headers["www-authenticate"])
    assert str(action.headers["www-authenticate"]).count('"') == 4


@pytest.mark.parametrize("lines", [[], [""], ["Basic YTpi"], ["Bearer \udcff"], [f"Bearer {token()}", "Bearer other"]])
def test_who_brings_no_token_is_told_to(lines: list[str]) -> None:
    async def run() -> Any:
        async with Issuer().prepared() as made:
            return await ask(made, *lines)

    assert asyncio.run(run()) == ImmediateResponse(401, {"www-authenticate": "Bearer"})


def test_a_new_key_is_fetched_when_a_token_names_it_and_not_for_every_such_token() -> None:
    async def run() -> None:
        issuer = Issuer()
        async with issuer.prepared() as made:
            issuer.keys = {"two": EC_KEY}
            new = f"Bearer {token(EC_KEY, 'two', 'ES256')}"
            assert [one["sub"] for one in await asyncio.gather(*(ask(made, new) for _ in range(5)))] == ["ada"] * 5
            assert issuer.asked == 2
            for _ in range(5):
                assert (await ask(made, f"Bearer {token()}")).status_code == 401
            assert issuer.asked == 2

    asyncio.run(run())


def test_keys_are_refreshed_in_the_background_and_outlive_an_issuer_that_is_away(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(policy, "RETRY_SECONDS", 0.0)

    async def run() -> None:
        issuer = Issuer()
        async with issuer.prepared(refreshSeconds=0.02) as made:
            issuer.keys = {"two": EC_KEY}
            while issuer.asked < 3:
                await asyncio.sleep(0.01)
            assert await made[0].get("two")
            issuer.down = True
            while not caplog.records:
                await asyncio.sleep(0.01)
            assert (await ask(made, f"Bearer {token(EC_KEY, 'two', 'ES256')}"))["sub"] == "ada"
        going_on = [task for task in asyncio.all_tasks() if not task.done()]
        assert "Keys.refresh" not in str(going_on), "it ends with the instance"

    asyncio.run(run())
    assert "the keys stay as they are: http://127.0.0.1:" in caplog.text


def test_it_is_not_prepared_while_the_issuer_is_away() -> None:
    async def run() -> None:
        issuer = Issuer()
        issuer.down = True
        async with issuer.prepared():
            pass

    with pytest.raises(aiohttp.ClientResponseError, match="503"):
        asyncio.run(run())
