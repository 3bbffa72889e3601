"""Refuses prompts that have a word in them, whatever the provider's API: sdk.llm reads them all."""

from typing import Any

from sdk import llm
from sdk.policy import RequestAction, RequestContext


def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    request = llm.read_request(ctx.method, ctx.path, ctx.body or b"")
    if request is None:
        return llm.problem(403, "this is no request to a language model")
    if any(params["word"].lower() in text.text.lower() for text in request.texts()):
        return llm.problem(400, "the prompt has a word in it that may not leave")
    return None
