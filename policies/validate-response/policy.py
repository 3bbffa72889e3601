"""Validates responses by a JSON Schema or an OpenAPI document; instead of invalid ones the client gets a 502.

The mistakes are in the log; the client does not see them. With `openapi` the body is validated by the operation, the
status and the content type; headers of responses are not validated.

Text that is not Unicode, and a charset that is not one of `sdk.charsets`, are mistakes like any other.

Limits: a body has at most the attachment's `maxBodyBytes`, and is buffered, so that all events of a stream arrive at
its end: attach the policy to operations whose responses are documents. Of bodies that are neither JSON nor text only
the type is checked. A response without a body (HEAD, 204, 304) passes.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sdk.metrics import Counter
from sdk.policy import ImmediateResponse, PolicyMetadata, ResponseAction, ResponseContext

if TYPE_CHECKING:  # the folder's name cannot be a package's
    from validation.content import Content, Finding, finding, inline_content
    from validation.document import parse_document
    from validation.json_schema import Rules
    from validation.openapi import Operations
else:
    from .validation.content import Content, Finding, finding, inline_content
    from .validation.document import parse_document
    from .validation.json_schema import Rules
    from .validation.openapi import Operations

INVALID = Counter("invalid_responses_total", "Responses that do not match the schema.", ["reason"])
BODILESS = {204, 304}
PROBLEM = {"type": "about:blank", "title": "Bad Gateway", "status": 502, "detail": "the upstream's response is invalid"}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Schema:
    """Validates bodies by one schema."""

    content: Content
    statuses: frozenset[str]
    rules: Rules

    def validate(self, ctx: ResponseContext) -> Finding | None:
        if not {str(ctx.status_code), f"{ctx.status_code // 100}XX"} & self.statuses:
            return None
        return validate_body(ctx, self.content, self.rules)


@dataclass(frozen=True, slots=True)
class Document:
    """Validates responses by an OpenAPI document."""

    operations: Operations
    undescribed_pass: bool
    rules: Rules

    def validate(self, ctx: ResponseContext) -> Finding | None:
        request = ctx.request
        match = self.operations.find(request.method, request.path, request.operation)
        content = None if match is None else match[0].response(ctx.status_code)
        if content is not None:
            return validate_body(ctx, content, self.rules)
        if self.undescribed_pass:
            return None
        if match is None:
            return finding("operation", "path", "the document does not describe this operation")
        return finding("status", "status", f"the document does not describe the status {ctx.status_code}")


def validate_body(ctx: ResponseContext, content: Content, rules: Rules) -> Finding | None:
    if ctx.body:
        return content.validate(ctx.headers, ctx.body, rules)
    if ctx.request.method == "HEAD" or ctx.status_code in BODILESS or not content.media:
        return None
    return finding("missing-body", "body", "a body is required")


def prepare(params: dict[str, Any], metadata: PolicyMetadata) -> Schema | Document:
    rules = Rules.of(params)
    if "schema" in params:
        return Schema(inline_content(params, rules), frozenset(params["statuses"]), rules)
    operations = Operations(parse_document(params["openapi"]), params, metadata.operation, rules, request=False)
    return Document(operations, params["undescribed"] == "pass", rules)


def on_response(ctx: ResponseContext, params: dict[str, Any]) -> ResponseAction:
    mistake: Finding | None = ctx.prepared.validate(ctx)
    if mistake is None:
        return None
    INVALID.inc(reason=mistake.reason)
    log.warning("invalid response with status %d: %s: %s", ctx.status_code, mistake.reason, json.dumps(mistake.errors))
    if params["onInvalid"] == "report":
        ctx.metadata[ctx.policy.policy_name] = {"reason": mistake.reason, "errors": mistake.errors}
        return None
    return ImmediateResponse(502, {"content-type": "application/problem+json"}, json.dumps(PROBLEM))
