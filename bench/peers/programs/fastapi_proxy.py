"""A reverse proxy with FastAPI and httpx, which sets one header in each direction: fastapi_proxy.py PORT UPSTREAM."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import uvicorn
from fastapi import FastAPI, Request, Response

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


@asynccontextmanager
async def client(app: FastAPI) -> AsyncIterator[None]:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(base_url=app.state.upstream, limits=limits) as client:
        app.state.client = client
        yield


app = FastAPI(lifespan=client, openapi_url=None)


@app.api_route("/{path:path}", methods=METHODS)
async def forward(request: Request) -> Response:
    """Reads whole bodies, since they are small."""
    headers = [(name, value) for name, value in request.headers.items() if name not in HOP_BY_HOP]
    answer = await app.state.client.request(
        request.method, request.url.path, headers=[*headers, ("x-peer", "1")], content=await request.body()
    )
    answer_headers = {name: value for name, value in answer.headers.items() if name not in HOP_BY_HOP}
    return Response(answer.content, answer.status_code, {**answer_headers, "x-peer": "1"})


def main(port: int, upstream: str) -> None:
    app.state.upstream = f"http://{upstream}"
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
