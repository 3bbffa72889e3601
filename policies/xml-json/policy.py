"""Converts XML to JSON and JSON to XML, in requests, responses or both, by the rules in conversion/xml_reader.py.

Document types, and with them entities and external references, are refused; depth and size are bounded. If a body
cannot be converted, a request is answered with a 400 and the reason; a response is replaced by a 502 without details.

Text is decoded by its byte order mark, its charset or its XML declaration, each of which must be one of `sdk.charsets`.

Limits: a body has at most the attachment's `maxBodyBytes`, and both directions are buffered, even if only one is
converted. XML has no numbers, so all values of the JSON are texts, lists, objects or null. XML does not show that a
list has one entry; name such elements in `lists`. Prefixes are kept as they are written, declared or not.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from sdk import charsets
from sdk.policy import (
    Headers,
    RequestAction,
    RequestContext,
    ResponseAction,
    ResponseContext,
    UpstreamRequestModifications,
    UpstreamResponseModifications,
)
from sdk.problems import problem

if TYPE_CHECKING:  # the folder's name cannot be a package's
    from conversion.limits import ConversionError, Limits
    from conversion.xml_reader import json_of
    from conversion.xml_writer import check_name, xml_of
else:
    from .conversion.limits import ConversionError, Limits
    from .conversion.xml_reader import json_of
    from .conversion.xml_writer import check_name, xml_of

DIGESTS = ["digest", "content-digest", "repr-digest", "content-md5", "accept-ranges"]
"""Headers that are valid only for the old body."""
CONTENT_TYPES = {"xml-to-json": "application/json", "json-to-xml": "application/xml; charset=utf-8"}
FORMS = {"xml-to-json": "xml", "json-to-xml": "json"}

log = logging.getLogger(__name__)


class OtherTypeError(Exception):
    """A body is not of the kind that is converted."""


def prepare(params: dict[str, Any]) -> Limits:
    if "rootName" in params:
        check_name(params["rootName"])
    return Limits(params["maxDepth"], params["maxBytes"])


def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    try:
        body = convert(ctx.headers, ctx.body, params["request"], params, ctx.prepared)
    except OtherTypeError:
        return problem(415, f"expected a body of {FORMS[params['request']].upper()}")
    except ConversionError as error:
        return problem(400, f"the body cannot be converted: {error}")
    if body is None:
        return None
    headers = {"content-type": CONTENT_TYPES[params["request"]]}
    return UpstreamRequestModifications(set_headers=headers, remove_headers=DIGESTS, body=body)


def on_response(ctx: ResponseContext, params: dict[str, Any]) -> ResponseAction:
    try:
        body = convert(ctx.headers, ctx.body, params["response"], params, ctx.prepared)
    except (OtherTypeError, ConversionError) as error:
        log.warning("a response with status %d cannot be converted: %s", ctx.status_code, error or "its type")
        return problem(502, "the upstream's response cannot be converted")
    if body is None:
        return None
    headers = {"content-type": CONTENT_TYPES[params["response"]]}
    return UpstreamResponseModifications(set_headers=headers, remove_headers=DIGESTS, body=body)


def convert(
    headers: Headers, body: bytes | None, conversion: str, params: dict[str, Any], limits: Limits
) -> bytes | None:
    """Returns the new body; None if it stays unchanged."""
    if not body or conversion == "none":
        return None
    lines = headers.get_all("content-type")
    media_type = "".join(lines[:1]).lower().partition(";")[0].strip()
    form = FORMS[conversion]
    if len(lines) > 1 or not media_type.endswith((f"/{form}", f"+{form}")):
        if params["otherTypes"] == "pass" and len(lines) < 2:
            return None
        raise OtherTypeError
    try:
        text = charsets.decode(body, charsets.of_content_type("".join(lines)), xml=form == "xml")
    except charsets.CharsetError as error:
        raise ConversionError(str(error)) from None
    if conversion == "xml-to-json":
        return json_of(text, params["lists"], limits)
    return xml_of(text, params.get("rootName"), limits)
