"""The client of the official MCP SDK, unchanged: `python client.py URL MODE SCENARIO` prints what it got, as JSON.

MODE is `legacy` (an initialized session) or `2026-07-28` (no sessions). A header of requests is `--header NAME=VALUE`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

Scenario = Callable[[Client, "Arguments"], Awaitable[Any]]
PAUSE = 2.5
WAIT = 20.0


class Arguments(argparse.Namespace):
    url: str
    mode: str
    scenario: str
    tool: str
    header: list[str]


def as_json(value: Any) -> Any:
    return value.model_dump(mode="json", by_alias=True, exclude={"meta"}, exclude_none=True)


async def everything(client: Client, _: Arguments) -> Any:
    """Lists, calls, reads; and a call whose progress comes before its end."""
    progress = asyncio.Event()

    async def on_progress(*_: Any) -> None:
        progress.set()

    async def release() -> Any:
        await progress.wait()
        return await client.call_tool("release", {})

    waited, done = await asyncio.gather(client.call_tool("wait", {}, progress_callback=on_progress), release())
    return [
        client.protocol_version,
        *map(as_json, [await client.list_tools(), await client.call_tool("add", {"a": 2, "b": 3}), waited, done]),
        *map(as_json, [await client.list_resources(), await client.read_resource("notes://today")]),
        *map(as_json, [await client.list_prompts(), await client.get_prompt("greet", {"name": "Ada"})]),
    ]


async def call(client: Client, arguments: Arguments) -> Any:
    """What a list of tools has, and what comes of a call."""
    names = [tool.name for tool in (await client.list_tools()).tools]
    try:
        result = await client.call_tool(arguments.tool, {"a": 2, "b": 3} if arguments.tool.endswith("add") else {})
    except MCPError as error:
        return [names, {"code": error.error.code, "message": error.error.message}]
    return [names, as_json(result)]


async def long_call(client: Client, _: Arguments) -> Any:
    """A call that is silent for longer than the timeouts of most operations."""
    return as_json(await client.call_tool("fall_silent", {"seconds": PAUSE}))


async def hear(client: Client, arguments: Arguments) -> Any:
    """A notification on the stream of the server's messages, after a pause."""
    if arguments.mode == "legacy":
        await client.call_tool("announce", {"seconds": PAUSE})
        await asyncio.wait_for(HEARD.wait(), WAIT)
        return "heard"
    async with client.listen(tools_list_changed=True) as subscription:
        await client.call_tool("announce", {"seconds": PAUSE})
        return f"heard {type(await anext(aiter(subscription))).__name__}"


HEARD = asyncio.Event()


async def on_message(message: Any) -> None:
    if type(message).__name__ == "ToolListChangedNotification":
        HEARD.set()


SCENARIOS: dict[str, Scenario] = {"everything": everything, "call": call, "long_call": long_call, "hear": hear}


async def run(arguments: Arguments) -> Any:
    headers = dict(header.split("=", 1) for header in arguments.header)
    async with httpx2.AsyncClient(headers=headers, timeout=httpx2.Timeout(30, read=300)) as http:
        transport = streamable_http_client(arguments.url, http_client=http)
        async with Client(transport, mode=arguments.mode, message_handler=on_message) as client:
            return await SCENARIOS[arguments.scenario](client, arguments)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("mode")
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("--tool", default="add")
    parser.add_argument("--header", action="append", default=[])
    print(json.dumps(asyncio.run(run(parser.parse_args(namespace=Arguments())))))


if __name__ == "__main__":
    main()
