"""Validates requests by a JSON Schema or an OpenAPI document; invalid ones are answered with a problem (RFC 9457).

With a `schema` only the body is validated. With `openapi` the operation's parameters in path, query, headers and
cookies are, and the body by its content type: JSON, forms and text; of other bodies only the type is checked.

Half of a surrogate pair in JSON, bytes that are not UTF-8 in a described parameter, and a charset that is not one of
`sdk.charsets` are mistakes like any other. JSON is in UTF-8, whatever its charset; forms and text are decoded by it.

Limits: a body has at most the attachment's `maxBodyBytes`. Cookies, headers and query parameters that the document does
not describe pass. `discriminator` is ignored; `oneOf` and `anyOf` are not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sdk.metrics import Counter
from sdk.policy import PolicyMetadata, RequestAction, RequestContext
from sdk.problems import problem

if TYPE_CHECKING:  # the folder's name cannot be a package's
    from validation import parameters
    from validation.content import Content, Finding, finding, inline_content
    from validation.document import parse_document
    from validation.json_schema import Rules
    from validation.openapi import Operations
else:
    from .validation import parameters
    from .validation.content import Content, Finding, finding, inline_content
    from .validation.document import parse_document
    from .validation.json_schema import Rules
    from .validation.openapi import Operations

INVALID = Counter("invalid_requests_total", "Requests that do not match the schema.", ["reason"])
STATUS = {"content-type": 415, "operation": 404}
"""The status by the reason; for all others it is the attachment's `statusCode`."""


@dataclass(frozen=True, slots=True)
class Schema:
    """Validates bodies by one schema."""

    content: Content
    body_required: bool
    rules: Rules

    def validate(self, ctx: RequestContext) -> Finding | None:
        return validate_body(ctx, self.content, self.body_required, self.rules)


@dataclass(frozen=True, slots=True)
class Document:
    """Validates requests by an OpenAPI document."""

    operations: Operations
    undescribed_pass: bool
    rules: Rules

    def validate(self, ctx: RequestContext) -> Finding | None:
        match = self.operations.find(ctx.method, ctx.path, ctx.operation)
        if match is None:
            return (
                None
                if self.undescribed_pass
                else finding("operation", "path", "the document does not describe this operation")
            )
        operation, path = match
        return parameters.validate(operation.parameters, ctx, path, self.rules) or validate_body(
            ctx, operation.body, operation.body_required, self.rules
        )


def validate_body(ctx: RequestContext, content: Content | None, required: bool, rules: Rules) -> Finding | None:
    if not ctx.body:
        return finding("missing-body", "body", "a body is required") if required else None
    if content is None:
        return finding("unexpected-body", "body", "expected no body")
    return content.validate(ctx.headers, ctx.body, rules)


def prepare(params: dict[str, Any], metadata: PolicyMetadata) -> Schema | Document:
    rules = Rules.of(params)
    if "schema" in params:
        return Schema(inline_content(params, rules), params["bodyRequired"], rules)
    operations = Operations(parse_document(params["openapi"]), params, metadata.operation, rules, request=True)
    return Document(operations, params["undescribed"] == "pass", rules)


def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    mistake: Finding | None = ctx.prepared.validate(ctx)
    if mistake is None:
        return None
    INVALID.inc(reason=mistake.reason)
    if params["onInvalid"] == "report":
        ctx.metadata[ctx.policy.policy_name] = {"reason": mistake.reason, "errors": mistake.errors}
        return None
    status = STATUS.get(mistake.reason, params["statusCode"])
    return problem(status, "the request does not match the description of this operation", errors=mistake.errors)
