"""A WebSocket upstream that first sends the `x-passed` of the handshake, and then echoes everything."""

from __future__ import annotations

from websockets.asyncio.server import Server, ServerConnection, serve


class WebsocketUpstream:
    """On a free port of loopback."""

    def __init__(self) -> None:
        self.opened = 0

    async def start(self) -> None:
        self._server: Server = await serve(self._talk, "127.0.0.1", 0, subprotocols=None, ping_interval=None)
        self.port: int = next(iter(self._server.sockets)).getsockname()[1]

    async def stop(self) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _talk(self, connection: ServerConnection) -> None:
        self.opened += 1
        assert connection.request
        await connection.send(connection.request.headers.get("x-passed", ""))
        async for message in connection:
            if message == "close":
                await connection.close(4001, "as asked")
            await connection.send(message)
