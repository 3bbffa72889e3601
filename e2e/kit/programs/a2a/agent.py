"""An A2A agent by the official SDK: `python agent.py PORT URL`; URL is the address that its card names.

It runs in the environment of requirements/a2a.txt (e2e.kit.a2a starts it), with the protocols 1.0 and 0.3.
"""

from __future__ import annotations

import asyncio
import sys

import uvicorn
from a2a.helpers.proto_helpers import new_task_from_user_message, new_text_message, new_text_part
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types.a2a_pb2 import AgentCapabilities, AgentCard, AgentInterface, AgentSkill
from starlette.applications import Starlette

released = asyncio.Event()


class Agent(AgentExecutor):
    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Repeats what it is told; `wait` is a task, which ends once another message has said `release`."""
        text = context.get_user_input()
        if text == "release":
            released.set()
        if text != "wait":
            await event_queue.enqueue_event(new_text_message(f"heard {text}"))
            return
        assert context.message is not None
        released.clear()
        task = new_task_from_user_message(context.message)
        await event_queue.enqueue_event(task)
        updater = TaskUpdater(event_queue, task.id, task.context_id)
        await updater.start_work()
        await released.wait()
        await updater.add_artifact([new_text_part("the result")], name="result")
        await updater.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        raise NotImplementedError


def card_of(url: str) -> AgentCard:
    interfaces = [
        AgentInterface(url=url, protocol_binding="JSONRPC", protocol_version=version) for version in ("1.0", "0.3")
    ]
    return AgentCard(
        name="an agent of a test",
        description="Repeats what it is told.",
        version="1.0.0",
        supported_interfaces=interfaces,
        capabilities=AgentCapabilities(streaming=True),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[AgentSkill(id="repeat", name="repeat", description="Repeats.", tags=["test"])],
    )


def main() -> None:
    port, url = int(sys.argv[1]), sys.argv[2]
    card = card_of(url)
    handler = DefaultRequestHandler(Agent(), InMemoryTaskStore(), card)
    routes = [*create_agent_card_routes(card), *create_jsonrpc_routes(handler, "/rpc", enable_v0_3_compat=True)]
    uvicorn.run(Starlette(routes=routes), host="127.0.0.1", port=port, log_level="error")


if __name__ == "__main__":
    main()
