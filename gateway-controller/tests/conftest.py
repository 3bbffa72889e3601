from __future__ import annotations

import contextlib
import functools
import json
import logging
import shutil
import sqlite3
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import jsonschema_rs
import msgspec
import postgresql_server
import psycopg
import pytest
from gatewright_controller._gen import node_pb2
from gatewright_controller.apis.controller import Controller
from gatewright_controller.gateway.gateways import Gateways
from gatewright_controller.kinds import Keyring, Kinds, open_kinds
from gatewright_controller.management.api import ApiLimits, create_app
from gatewright_controller.management.openapi import openapi, path_of
from gatewright_controller.management.rows import Row
from gatewright_controller.management.table import PARTS, ROWS
from gatewright_controller.nodes.node import Node
from gatewright_controller.nodes.observations import Observations
from gatewright_controller.nodes.states import Export, States
from gatewright_controller.nodes.watching import Watching
from gatewright_controller.oidc import People
from gatewright_controller.resource.definitions import Definitions, load_definitions
from gatewright_controller.store import Store, open_store
from gatewright_controller.translate import EdgeSettings
from gatewright_documents.values import JsonObject
from starlette.routing import compile_path

TESTDATA = Path(__file__).parent / "testdata"


def pytest_addoption(parser: pytest.Parser) -> None:
    with contextlib.suppress(ValueError):  # another component's tests have it too
        parser.addoption("--update", action="store_true", help="rewrite the golden files with what the code makes")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _log_level() -> Iterator[None]:
    """A level that a test sets by the API counts in that test alone."""
    level = logging.getLogger().level
    yield
    logging.getLogger().setLevel(level)


@pytest.fixture(scope="session")
def testdata() -> Path:
    return TESTDATA


@pytest.fixture(scope="session")
def definitions() -> Definitions:
    return load_definitions(TESTDATA / "definitions", {"guard": {"issuer": "https://id.example"}})


@pytest.fixture
def orders() -> JsonObject:
    """A small valid API, which tests change."""
    return {
        "apiVersion": "gatewright.dev/v1",
        "kind": "Api",
        "metadata": {"name": "orders-v1"},
        "spec": {
            "version": "v1.0",
            "context": "/orders/$version",
            "upstream": {"main": {"url": "http://orders.internal:8080/api"}},
            "policies": [{"name": "log-message", "version": "v1"}],
            "operations": [
                {"method": "GET", "path": "/{id}"},
                {"method": "POST", "path": "/", "policies": [{"name": "rewrite-body", "version": "v1"}]},
            ],
        },
    }


@pytest.fixture
def folder(tmp_path: Path, testdata: Path) -> Path:
    """The definitions' folder, which a test may change."""
    shutil.copytree(testdata / "definitions", tmp_path / "definitions")
    return tmp_path / "definitions"


@pytest.fixture(scope="session")
def postgresql() -> Iterator[postgresql_server.Server]:
    with postgresql_server.server() as server:
        yield server


@pytest.fixture(scope="session")
def new_postgresql(postgresql: postgresql_server.Server) -> Callable[[], str]:
    """Makes an empty database; returns its URL."""

    def create() -> str:
        name = f"test_{uuid.uuid4().hex}"
        with psycopg.connect(postgresql.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return postgresql.url.replace(f"/{postgresql_server.DATABASE}?", f"/{name}?")

    return create


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of either kind."""
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'new' / 'controller.db'}"
    url: str = request.getfixturevalue("new_postgresql")()
    return url


@pytest.fixture
def sqlite_connection() -> Callable[[Store], sqlite3.Connection]:
    """The connection of a store in SQLite."""

    def connection_of(store: Store) -> sqlite3.Connection:
        pooled = store.engine.raw_connection()  # type: ignore[attr-defined]
        connection = pooled.driver_connection
        pooled.close()
        assert isinstance(connection, sqlite3.Connection)
        return connection

    return connection_of


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    store = open_store("sqlite::memory:")
    yield store
    store.close()


@pytest.fixture
async def controller(folder: Path, store: Store) -> Controller:
    settings = {"guard": {"issuer": "https://id.example"}}
    return Controller(store, lambda: load_definitions(folder, settings), EdgeSettings())


@pytest.fixture
def connect() -> Callable[[Controller], Node]:
    """Connects a node that has the controller's policies."""

    def connect_node(controller: Controller) -> Node:
        policies = [
            node_pb2.PolicyRef(name=definition.name, version=definition.version, definition_digest=definition.digest)
            for definition in controller.definitions
        ]
        return controller.deployment.connect(node_pb2.Hello(node_id="n1", engine_version="1.2", policies=policies))

    return connect_node


@pytest.fixture
async def gateways(controller: Controller) -> Gateways:
    """The Gateways of a controller without a Gateway file."""
    return Gateways(controller.store, controller.deployment, None)


KEY = "11" * 32
"""Of Secrets."""


@pytest.fixture
async def kinds(controller: Controller) -> Kinds:
    """With a key for Secrets."""
    return open_kinds(controller, Keyring(KEY))


@pytest.fixture
async def observations(controller: Controller) -> AsyncIterator[Observations]:
    """Tests connect nodes to it that report exchanges."""
    observations = Observations(controller.deployment)
    yield observations
    observations.stop()


@functools.cache
def document() -> JsonObject:
    """The API's own description."""
    made: JsonObject = json.loads(msgspec.json.encode(openapi(PARTS)))
    return made


USUAL_LIMITS = ApiLimits()
OF_THE_ENGINE = ("/v1/nodes/{id:text}/", "/v1/exchanges/")
"""Paths whose answers pass through the controller unread; tests have nodes send what they like."""


@functools.cache
def answer_to(row: Row, status: int) -> JsonObject:
    """The document's response of the row; empty where it has none."""
    operation = document()["paths"][path_of(row)][row.method.lower()]
    answer: JsonObject = operation["responses"].get(str(status), {})
    if "$ref" in answer:
        answer = document()["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    return answer


@functools.cache
def validator(schema: str) -> jsonschema_rs.Draft202012Validator:
    """schema: as JSON. Rows share schemas, each of which is compiled with all components: 68 for all 937 answers."""
    return jsonschema_rs.Draft202012Validator({**json.loads(schema), "components": document()["components"]})


async def hold_to_document(response: httpx.Response) -> None:
    """Fails where an answer has a status, a content type or a JSON body that the document does not give its row."""
    method, path, status = response.request.method, response.request.url.path, response.status_code
    meant = next((row.path for row in ROWS if compile_path(row.path)[0].match(path)), None)
    row = next((row for row in ROWS if (row.method, row.path) == (method, meant)), None)
    if row is None or status == 500:
        return
    answer, content_type = answer_to(row, status), response.headers.get("content-type", "").partition(";")[0]
    assert answer, f"{method} {path} answered {status}, which its row does not have"
    known = {media_type.partition(";")[0] for media_type in answer.get("content", {})}
    assert content_type in (known or {""}), f"{method} {path} answered {content_type}"
    is_unread = row.method == "GET" and row.path.startswith(OF_THE_ENGINE)
    if content_type.endswith("json") and (status >= 400 or not is_unread):
        found = json.loads(await response.aread())
        schema = json.dumps(answer["content"][content_type]["schema"], sort_keys=True)
        assert [str(error) for error in validator(schema).iter_errors(found)] == []


@pytest.fixture
async def client_with(
    controller: Controller, gateways: Gateways, kinds: Kinds, observations: Observations
) -> AsyncIterator[Callable[..., httpx.AsyncClient]]:
    """Clients of a management API with these limits, people, token and states; all have the same controller."""
    async with contextlib.AsyncExitStack() as clients:

        def open_client(
            limits: ApiLimits = USUAL_LIMITS,
            people: People | None = None,
            token: str = "",
            states: States | None = None,
            export: Export | None = None,
        ) -> httpx.AsyncClient:
            app = create_app(
                controller,
                gateways,
                token=token,
                max_request_bytes=20_000,
                watching=Watching(observations),
                people=people,
                states=states,
                export=export,
                kinds=kinds,
                limits=limits,
            )
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            hooks = {"response": [hold_to_document]}
            client = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", event_hooks=hooks)
            clients.push_async_callback(client.aclose)
            return client

        yield open_client


@pytest.fixture
def client(client_with: Callable[..., httpx.AsyncClient]) -> httpx.AsyncClient:
    return client_with(ApiLimits())


@pytest.fixture
def rewritten(folder: Path) -> Callable[..., None]:
    """Makes the definition log-message:BEFORE log-message:AFTER, beside it or in its place."""

    def rewrite(before: str, after: str, *, keep: bool = False, parameters: str = "") -> None:
        old = folder / f"log-message-{before}.yaml"
        text = old.read_text().replace(before, after)
        (folder / f"log-message-{after}.yaml").write_text(
            text.partition("parameters:")[0] + parameters if parameters else text
        )
        if not keep:
            old.unlink()

    return rewrite
