"""An MCP server by the official SDK, with its Streamable HTTP: `python server.py PORT [--json]`.

It runs in the environment of requirements/mcp.txt (e2e.kit.mcp starts it), and keeps events, so that streams resume.
"""

from __future__ import annotations

import argparse
import asyncio

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp_types import JSONRPCMessage

server = MCPServer("tools of a test", version="1.0.0")
released = asyncio.Event()
announcements: set[asyncio.Task[None]] = set()


@server.tool()
def add(a: int, b: int) -> int:
    """The sum."""
    return a + b


@server.tool()
def delete_everything() -> str:
    """A tool that not every client may call."""
    return "deleted"


@server.tool()
async def wait(ctx: Context) -> str:
    """Reports progress, and answers once `release` was called: a client that gets no progress waits for ever."""
    released.clear()
    await ctx.report_progress(1, 2, "waiting")
    await released.wait()
    return "released"


@server.tool()
def release() -> str:
    """Ends `wait`."""
    released.set()
    return "done"


@server.tool()
async def fall_silent(seconds: float) -> str:
    """Answers after so long."""
    await asyncio.sleep(seconds)
    return "here"


@server.tool()
async def announce(seconds: float, ctx: Context) -> str:
    """After so long tells that the list of tools has changed, on the stream for messages of the server."""

    async def send() -> None:
        await asyncio.sleep(seconds)
        if ctx.protocol_version == "2026-07-28":
            await ctx.notify_tools_changed()
        else:
            await ctx.session.send_tool_list_changed()

    if seconds == 0:
        await send()
        return "announced"
    task = asyncio.create_task(send())
    announcements.add(task)
    task.add_done_callback(announcements.discard)
    return "announcing"


@server.resource("notes://today")
def today() -> str:
    """A note."""
    return "to do: nothing"


@server.prompt()
def greet(name: str) -> str:
    """A greeting."""
    return f"Greet {name}."


class Events(EventStore):
    """All events of this process; an id is an index."""

    def __init__(self) -> None:
        self._events: list[tuple[str, JSONRPCMessage | None]] = []

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        self._events.append((stream_id, message))
        return str(len(self._events) - 1)

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        stream, _ = self._events[int(last_event_id)]
        for index, (of, message) in enumerate(list(self._events)):
            if of == stream and index > int(last_event_id) and message is not None:
                await send_callback(EventMessage(message, str(index)))
        return stream


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--json", action="store_true", help="answer with JSON where that is enough")
    arguments = parser.parse_args()
    app = server.streamable_http_app(json_response=arguments.json, event_store=Events())
    uvicorn.run(app, host="127.0.0.1", port=arguments.port, log_level="error")


if __name__ == "__main__":
    main()
