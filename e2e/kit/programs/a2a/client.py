"""The client of the official A2A SDK, unchanged: `python client.py URL VERSION [--rpc URL]` prints what it got.

URL is below which the agent's card is. VERSION, of the protocol, is 1.0 or 0.3. With --rpc the client asks there, and
not where the card says.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from typing import Any

import httpx
from a2a.client import A2ACardResolver, ClientConfig, ClientFactory
from a2a.helpers.proto_helpers import new_text_message
from a2a.types.a2a_pb2 import AgentCard, Role, SendMessageRequest
from google.protobuf.json_format import MessageToDict

OF_ONE_RUN = {"id", "taskId", "contextId", "messageId", "artifactId", "timestamp"}


def without_ids(value: Any) -> Any:
    """What two runs have in common."""
    if isinstance(value, dict):
        return {name: without_ids(member) for name, member in value.items() if name not in OF_ONE_RUN}
    return [without_ids(item) for item in value] if isinstance(value, list) else value


def request(text: str) -> SendMessageRequest:
    return SendMessageRequest(message=new_text_message(text, role=Role.ROLE_USER))


async def send(card: AgentCard, http: httpx.AsyncClient, text: str) -> list[Any]:
    """A message, answered whole."""
    client = ClientFactory(ClientConfig(streaming=False, httpx_client=http)).create(card)
    return [MessageToDict(event) async for event in client.send_message(request(text))]


async def stream(card: AgentCard, http: httpx.AsyncClient) -> list[Any]:
    """A task, whose first events release it: a client that gets none before the end waits for ever."""
    client = ClientFactory(ClientConfig(streaming=True, httpx_client=http)).create(card)
    events = []
    async for event in client.send_message(request("wait")):
        events.append(MessageToDict(event))
        if "TASK_STATE_WORKING" in json.dumps(events[-1]):
            await send(card, http, "release")
    return events


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("version")
    parser.add_argument("--rpc")
    arguments = parser.parse_args()
    async with httpx.AsyncClient(timeout=30) as http:
        card = await A2ACardResolver(http, arguments.url).get_agent_card()
        shown = MessageToDict(card)
        kept = [interface for interface in card.supported_interfaces if interface.protocol_version == arguments.version]
        del card.supported_interfaces[:]
        card.supported_interfaces.extend(kept)
        for interface in card.supported_interfaces:
            interface.url = arguments.rpc or interface.url
        got = [shown, await send(card, http, "hello"), await asyncio.wait_for(stream(card, http), 20)]
    print(json.dumps(without_ids(got)))


if __name__ == "__main__":
    asyncio.run(main())
