"""The server that MCP's own conformance suite asks, with the tools, prompts and resources that its scenarios name."""

from __future__ import annotations

import asyncio
import base64
import sys

import uvicorn
from mcp.server.mcpserver import Audio, Context, Image, MCPServer
from mcp_types import (
    Completion,
    EmbeddedResource,
    PromptReference,
    SamplingMessage,
    TextContent,
    TextResourceContents,
)
from pydantic import BaseModel
from server import Events

server = MCPServer("everything that the suite asks", version="1.0.0")
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
SOUND = (
    b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00@\x1f\x00\x00@\x1f\x00\x00\x01\x00\x08\x00data"
    + bytes(4)
)


class Answer(BaseModel):
    response: str


class Person(BaseModel):
    name: str = "John Doe"
    age: int = 30
    score: float = 95.5
    verified: bool = True


def embedded(uri: str, text: str) -> EmbeddedResource:
    return EmbeddedResource(type="resource", resource=TextResourceContents(uri=uri, mime_type="text/plain", text=text))


@server.tool()
def test_simple_text() -> str:
    return "This is a simple text response for testing."


@server.tool()
def test_image_content() -> Image:
    return Image(data=PIXEL, format="png")


@server.tool()
def test_audio_content() -> Audio:
    return Audio(data=SOUND, format="wav")


@server.tool()
def test_embedded_resource() -> EmbeddedResource:
    return embedded("test://embedded-resource", "This is an embedded resource content.")


@server.tool(structured_output=False)
def test_multiple_content_types() -> list[object]:
    return ["Multiple content types test:", Image(data=PIXEL, format="png"), embedded("test://mixed", "{}")]


@server.tool()
async def test_tool_with_logging(ctx: Context) -> str:
    for text in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await ctx.info(text)
        await asyncio.sleep(0.05)
    return "done"


@server.tool()
def test_error_handling() -> str:
    raise ValueError("This tool intentionally returns an error for testing")


@server.tool()
async def test_tool_with_progress(ctx: Context) -> str:
    for done in (0, 50, 100):
        await ctx.report_progress(done, 100)
        await asyncio.sleep(0.05)
    return "done"


@server.tool()
async def test_sampling(prompt: str, ctx: Context) -> str:
    messages = [SamplingMessage(role="user", content=TextContent(type="text", text=prompt))]
    result = await ctx.session.create_message(messages, max_tokens=100, related_request_id=ctx.request_id)
    return f"LLM response: {getattr(result.content, 'text', '')}"


@server.tool()
async def test_elicitation(message: str, ctx: Context) -> str:
    result = await ctx.elicit(message, Answer)
    return f"User response: {result.action}"


@server.tool()
async def test_elicitation_sep1034_defaults(ctx: Context) -> str:
    result = await ctx.elicit("Defaults", Person)
    return f"Elicitation completed: {result.action}"


@server.tool()
async def test_reconnection(ctx: Context) -> str:
    await ctx.close_sse_stream()
    await asyncio.sleep(0.1)
    return "Reconnection test completed"


@server.resource("test://static-text", mime_type="text/plain")
def static_text() -> str:
    return "This is the content of the static text resource."


@server.resource("test://static-binary", mime_type="image/png")
def static_binary() -> bytes:
    return PIXEL


@server.resource("test://template/{id}/data", mime_type="application/json")
def template(id: str) -> str:  # noqa: A002 - the template's own word
    return f'{{"id": "{id}", "templateTest": true, "data": "Data for ID: {id}"}}'


@server.resource("test://watched-resource", mime_type="text/plain")
def watched() -> str:
    return "watched"


@server.prompt()
def test_simple_prompt() -> str:
    return "This is a simple prompt for testing."


@server.prompt()
def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
    return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"


@server.completion()
async def complete(ref: object, argument: object, context: object) -> Completion:  # noqa: ARG001 - all alike
    return Completion(values=["Paris"] if isinstance(ref, PromptReference) else [], total=1, has_more=False)


if __name__ == "__main__":
    app = server.streamable_http_app(event_store=Events(), retry_interval=500)
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error")
