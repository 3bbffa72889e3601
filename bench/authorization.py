"""The needs of the rows of authorization policies: a signature, and a server that decides."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import threading
from collections.abc import Iterator

from aiohttp import web

from bench.rows import Attachment, Row

SIGNED_WITH = "a secret of the bench"


def hmac_row() -> Row:
    """hmac-auth with GitHub's style, whose signature of a request without a body is always the same."""
    params = {"style": "github", "keys": [{"name": "bench", "secret": SIGNED_WITH}]}
    attachment: Attachment = {"name": "hmac-auth", "version": "v1", "params": params}
    signature = hmac.new(SIGNED_WITH.encode(), b"", "sha256").hexdigest()
    return Row("shipped-hmac-auth", "hmac-auth", (attachment,), sent={"X-Hub-Signature-256": f"sha256={signature}"})


@contextlib.contextmanager
def opa_row() -> Iterator[Row]:
    """opa-authz, which asks for each request; the server runs in this process, answers true, and is faster than OPA."""
    with _run_server() as port:
        params = {"url": f"http://127.0.0.1:{port}", "path": "bench/allow", "timeoutMilliseconds": 5000}
        attachment: Attachment = {"name": "opa-authz", "version": "v1", "params": params, "timeout": "10s"}
        yield Row("shipped-opa-authz", "opa-authz", (attachment,))


@contextlib.contextmanager
def _run_server() -> Iterator[int]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    runner = web.AppRunner(_application())
    try:
        yield asyncio.run_coroutine_threadsafe(_listen(runner), loop).result(30)
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _listen(runner: web.AppRunner) -> int:
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port: int = runner.addresses[0][1]
    return port


def _application() -> web.Application:
    async def decide(_: web.Request) -> web.Response:
        return web.json_response({"result": True})

    application = web.Application()
    application.router.add_post("/v1/data/bench/allow", decide)
    return application
