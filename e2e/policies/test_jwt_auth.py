"""A real provider: its keys change under requests, it is away and comes back, it revokes, users log in and out."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from e2e.kit.counterparts.oidc_provider import CALLBACK, GATEWAY, LOGGED_OUT, PASSWORD, SECRET, USER, Provider, provider
from e2e.kit.gateway import Gateway, Json, api, attach, eventually, running
from e2e.kit.places import ROOT
from e2e.kit.upstream import Upstream

POLICIES = ("jwt-auth", "oauth2-introspection", "oidc-login")
KEYS, INTROSPECTION = "/keys", "/oauth/introspect"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with the policies of tokens alone."""
    folder, output = tmp_path_factory.mktemp("tokens"), ROOT / "build" / "tokens"
    manifest = folder / "build.yaml"
    entries = [{"name": name, "filePath": str(ROOT / "policies" / name)} for name in POLICIES]
    manifest.write_text(yaml.safe_dump({"version": "v1", "policies": entries}))
    subprocess.run(["gatewright", "build", "--manifest", str(manifest), "--output", str(output)], check=True)
    with running(output, folder / "state") as gateway:
        yield gateway


@pytest.fixture(scope="module")
def identity_provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    with provider(tmp_path_factory.mktemp("provider")) as identity_provider:
        yield identity_provider


class Client:
    """Asks one API, whose name is of this run alone."""

    def __init__(self, node: Gateway, upstream: Upstream, attachment: Json) -> None:
        name = f"tokens-{uuid.uuid4().hex[:8]}"
        node.deploy(api(name, upstream.url, [attachment]))
        self._client = httpx.Client(base_url=f"{node.url}/{name}", timeout=30)

    def close(self) -> None:
        self._client.close()

    def ask(self, token: str) -> httpx.Response:
        return self._client.get("/", headers={"authorization": f"Bearer {token}"})

    def status(self, token: str) -> int:
        """503 is the one answer that says that it may be another one soon."""
        answer = self.ask(token)
        assert answer.status_code != 503 or answer.headers["retry-after"] == "5", answer.text
        return answer.status_code

    @contextmanager
    def asking(self, token: str) -> Iterator[list[int]]:
        """Asks all the time; the statuses of the answers."""
        statuses: list[int] = []
        over = threading.Event()

        def repeat() -> None:
            while not over.is_set():
                statuses.append(self.status(token))

        thread = threading.Thread(target=repeat)
        thread.start()
        try:
            yield statuses
        finally:
            over.set()
            thread.join()


Serving = Callable[[Json], Client]


@pytest.fixture
def new_client(node: Gateway, upstream: Upstream) -> Iterator[Serving]:
    """Deploys an API with one attachment."""
    with ExitStack() as clients:
        yield lambda attachment: clients.enter_context(closing(Client(node, upstream, attachment)))


def jwt_auth(issuer: str) -> Json:
    """timeout: 504 is an answer of a machine that is too slow, not of the policy."""
    params = {"issuers": [{"issuer": issuer, "audiences": ["orders"]}], "refreshSeconds": 86400}
    return attach("jwt-auth", params, timeout="25s")


def token_of_unknown_key(issuer: str) -> str:
    header = {"alg": "RS256", "kid": uuid.uuid4().hex}
    claims = {"iss": issuer, "aud": "orders", "exp": time.time() + 60}
    parts = (json.dumps(part).encode() for part in (header, claims))
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (*parts, b"signature"))


def test_keys_change_under_requests(new_client: Serving, identity_provider: Provider) -> None:
    client, old, start = new_client(jwt_auth(identity_provider.issuer)), identity_provider.token(), time.monotonic()
    eventually("the keys are there", lambda: client.status(old) == 200, 60)
    before = identity_provider.asked(KEYS)
    with client.asking(old) as answers:
        identity_provider.rotate("ES256")
        new, statuses = identity_provider.token(), []

        def passes() -> bool:
            statuses.append(client.status(new))
            return statuses[-1] == 200

        eventually("the new key is known", passes, 30)
        assert set(statuses) <= {503, 200}, "a good token is never called a bad one"
        unknown = [client.status(token_of_unknown_key(identity_provider.issuer)) for _ in range(50)]
        minutes = int((time.monotonic() - start) / 60)
        assert set(unknown) == {401} or minutes
        assert identity_provider.asked(KEYS) - before <= 1 + minutes
        count = len(answers)
        eventually("the old key goes on", lambda: len(answers) > count)
    assert set(answers) == {200}


def test_tokens_are_accepted_while_the_provider_is_away(new_client: Serving, tmp_path: Path) -> None:
    late = Provider(tmp_path)
    try:
        client = new_client(jwt_auth(late.issuer))
        assert client.status(token_of_unknown_key(late.issuer)) == 503
        assert client.status("a.b.c") == 401, "no provider is needed for that"
        token = late.start().token()
        eventually("the keys are there", lambda: client.status(token) == 200, 60)
        late.stop()
        assert client.status(token) == 200
        assert client.status(token_of_unknown_key(late.issuer)) in {401, 503}
        assert client.status(token) == 200
    finally:
        late.close()


def introspection(issuer: str, **more: object) -> Json:
    params = {"url": f"{issuer}{INTROSPECTION}", "clientId": GATEWAY, "clientSecret": SECRET}
    return attach("oauth2-introspection", {**params, "timeoutMilliseconds": 20_000, **more}, timeout="25s")


def test_a_revoked_token_is_refused(new_client: Serving, identity_provider: Provider) -> None:
    client = new_client(introspection(identity_provider.issuer, cacheSeconds=3600))
    uncached = new_client(introspection(identity_provider.issuer, cacheSeconds=0))
    token, before = identity_provider.token(client="opaque"), identity_provider.asked(INTROSPECTION)
    assert [client.status(token) for _ in range(5)] == [200] * 5
    assert identity_provider.asked(INTROSPECTION) == before + 1
    assert uncached.status(token) == 200
    identity_provider.revoke(token)
    assert uncached.status(token) == 401
    assert client.status(token) == 200, "as long as the answer is believed"


def test_introspection_recovers_from_an_outage(new_client: Serving, tmp_path: Path) -> None:
    late = Provider(tmp_path)
    try:
        client = new_client(introspection(late.issuer))
        assert client.status("abc") == 503
        token = late.start().token(client="opaque")
        assert client.status(token) == 200
        assert client.status("abc") == 401
        late.stop()
        assert client.status("def") == 503
    finally:
        late.close()


def log_in(browser: httpx.Client, issuing: Provider, page: str) -> httpx.Response:
    """The page, as it comes behind the login to which it leads."""
    form = browser.get(page)
    assert form.status_code == 200, form.text
    (request_id,) = re.findall(r'name="id" value="([^"]+)"', form.text)
    filled = {"id": request_id, "username": USER, "password": PASSWORD}
    return browser.post(f"{issuing.issuer}/login/username", data=filled)


@pytest.fixture
def browser() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=30, follow_redirects=True, headers={"accept": "text/html"}) as client:
        yield client


def test_a_user_logs_in_and_out(node: Gateway, upstream: Upstream, tmp_path: Path, browser: httpx.Client) -> None:
    name = f"login-{uuid.uuid4().hex[:8]}"
    at, script = f"{node.url}/{name}", {"accept": "application/json"}
    issuing = Provider(tmp_path, node.url, f"/{name}")
    try:
        issuing.start()
        params = {
            "issuer": issuing.issuer, "clientId": GATEWAY, "clientSecret": SECRET, "origin": node.url,
            "callbackPath": f"/{name}{CALLBACK}", "logoutPath": f"/{name}/logout",
            "loggedOutPath": f"/{name}{LOGGED_OUT}", "cookieKeys": [uuid.uuid4().hex],
            "claimHeaders": {"x-user": "sub"},
        }  # fmt: skip
        node.deploy(api(name, upstream.url, [attach("oidc-login", params, timeout="25s")]))
        for _ in range(2):
            page = log_in(browser, issuing, f"{at}/page?a=1")
            assert (page.status_code, str(page.url)) == (200, f"{at}/page?a=1")
            (reached,) = upstream.received
            assert (reached.value("x-user"), reached.value("cookie")) == ("id1", None)
            assert browser.get(f"{at}/data", headers=script).status_code == 200
            out = browser.get(f"{at}/logout")
            passed = [answer.url.path for answer in out.history]
            assert passed[:3] == [f"/{name}/logout", "/end_session", f"/{name}{LOGGED_OUT}"]
            assert browser.get(f"{at}/data", headers=script).status_code == 401
            upstream.reset()
            issuing.rotate("ES256")  # then a login that is signed with a key that has just come
    finally:
        issuing.close()
