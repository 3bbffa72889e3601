"""A reverse proxy with aiohttp, which sets one header in each direction: aiohttp_proxy.py PORT UPSTREAM."""

import sys
from collections.abc import AsyncIterator

from aiohttp import ClientSession, DummyCookieJar, TCPConnector, web
from multidict import CIMultiDict, CIMultiDictProxy

HOP_BY_HOP = ("Connection", "Keep-Alive", "Transfer-Encoding", "Content-Length", "Host")
SESSION = web.AppKey("session", ClientSession)
UPSTREAM = web.AppKey("upstream", str)


async def forward(request: web.Request) -> web.Response:
    """Reads whole bodies, since they are small."""
    call = request.app[SESSION].request(
        request.method,
        request.app[UPSTREAM] + request.raw_path,
        headers=with_peer(request.headers),
        data=await request.read() if request.can_read_body else None,
        allow_redirects=False,
    )
    async with call as answer:
        return web.Response(status=answer.status, headers=with_peer(answer.headers), body=await answer.read())


def with_peer(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    changed = CIMultiDict(headers)
    for name in HOP_BY_HOP:
        changed.popall(name, None)
    changed["X-Peer"] = "1"
    return changed


async def client(app: web.Application) -> AsyncIterator[None]:
    connector = TCPConnector(limit=0)
    async with ClientSession(connector=connector, cookie_jar=DummyCookieJar(), auto_decompress=False) as session:
        app[SESSION] = session
        yield


def main(port: int, upstream: str) -> None:
    app = web.Application()
    app[UPSTREAM] = f"http://{upstream}"
    app.cleanup_ctx.append(client)
    app.router.add_route("*", "/{path:.*}", forward)
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
