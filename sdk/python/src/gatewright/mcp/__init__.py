"""Messages of the Model Context Protocol over Streamable HTTP: read once, for all policies.

    found = mcp.read_messages(ctx.body or b"", ctx.headers.get_all("content-type"))
    if isinstance(found, mcp.Malformed): ...          # no message, or one that parsers read differently
    found.messages[0].method, found.messages[0].targets

    editor = mcp.AnswerEditor(content_type, edit)     # `edit` returns the message that goes on
    editor.feed(chunk), editor.end()

A policy that answers in the place of a server has `read_request`, `Server` and `Reply`.

A client's message has one meaning for all parsers, or is Malformed: no name twice or in another case, no half
characters, no id that some parsers round. Nothing raises for what a client sends; AnswerEditor raises StreamError for
an answer of a server that it cannot read. Standard library only.
"""

from gatewright.mcp.answers import AnswerEditor, AnswerReader, Result, results_of
from gatewright.mcp.headers import check_headers, header_value
from gatewright.mcp.messages import (
    HEADER_MISMATCH,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    LISTS,
    METHOD_NOT_FOUND,
    METHODS,
    PARSE_ERROR,
    RESOURCE_NOT_FOUND,
    UNSUPPORTED_PROTOCOL_VERSION,
    Malformed,
    Message,
    Messages,
    Target,
    error_message,
    read_messages,
)
from gatewright.mcp.serving import (
    SESSION_REVISIONS,
    STATELESS_REVISIONS,
    Asked,
    Reply,
    Server,
    answer,
    as_asked,
    read_message,
    read_request,
    refuse,
)

__all__ = [
    "HEADER_MISMATCH",
    "INTERNAL_ERROR",
    "INVALID_PARAMS",
    "INVALID_REQUEST",
    "LISTS",
    "METHODS",
    "METHOD_NOT_FOUND",
    "PARSE_ERROR",
    "RESOURCE_NOT_FOUND",
    "SESSION_REVISIONS",
    "STATELESS_REVISIONS",
    "UNSUPPORTED_PROTOCOL_VERSION",
    "AnswerEditor",
    "AnswerReader",
    "Asked",
    "Malformed",
    "Message",
    "Messages",
    "Reply",
    "Result",
    "Server",
    "Target",
    "answer",
    "as_asked",
    "check_headers",
    "error_message",
    "header_value",
    "read_message",
    "read_messages",
    "read_request",
    "refuse",
    "results_of",
]
