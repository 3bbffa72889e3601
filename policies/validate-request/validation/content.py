"""Validates a body by the schema of its content type."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sdk import charsets
from sdk.policy import Headers, QueryParams

from .json_schema import Json, JsonError, Rules, Validator, check_text, compile_schema, mistakes, read_json
from .shapes import ANY, Shape, parse_typed

FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Finding:
    """The mistakes of a message.

    reason: a word, for a metric's label. errors: `{"in", "pointer", "message"}`, and "name" for a parameter.
    """

    reason: str
    errors: list[Json]


def finding(reason: str, where: str, message: str, at: str = "") -> Finding:
    return Finding(reason, [{"in": where, "pointer": at, "message": message}])


@dataclass(frozen=True, slots=True)
class Media:
    """The schema for bodies of one media type; without a validator, any body is valid."""

    validator: Validator | None = None
    shape: Shape = ANY


@dataclass(frozen=True, slots=True)
class Content:
    """Schemas by media types and ranges in lower case: application/json, application/*+json, text/*, */*."""

    media: Mapping[str, Media]

    def find(self, media_type: str) -> Media | None:
        kind, _, name = media_type.partition("/")
        ranges = (media_type, f"{kind}/*+{name.rpartition('+')[2]}" if "+" in name else "", f"{kind}/*", "*/*")
        return next((self.media[name] for name in ranges if name in self.media), None)

    def validate(self, headers: Headers, body: bytes, rules: Rules) -> Finding | None:
        """Returns the mistakes in a body; None if it is valid."""
        lines = headers.get_all("content-type")
        media_type = lines[0].partition(";")[0].strip().lower() if len(lines) == 1 else ""
        media = self.find(media_type) if media_type else None
        if media is None:
            expected = ", ".join(self.media) or "no body at all"
            return finding("content-type", "header", f"expected one content-type: {expected}")
        if media.validator is None:
            return None
        try:
            value = _value(media_type, media, body, charsets.of_content_type(lines[0]), rules)
        except charsets.CharsetError as error:
            return finding("syntax", "body", str(error))
        except JsonError as error:
            return finding("syntax", "body", str(error), error.at)
        errors = [] if value is None else mistakes(media.validator, value[0], rules)
        return Finding("schema", [{"in": "body", **error} for error in errors]) if errors else None


def inline_content(params: Mapping[str, Any], rules: Rules) -> Content:
    """Returns the content of an attachment's `schema` and `contentTypes`. ValueError: the schema is invalid."""
    media = Media(compile_schema(json.loads(json.dumps(params["schema"])), rules))
    return Content({media_type.lower(): media for media_type in params["contentTypes"]})


def _value(media_type: str, media: Media, body: bytes, charset: str, rules: Rules) -> tuple[Any] | None:
    """Returns the body as a value in a tuple; None if its type is not parsed. JsonError, CharsetError."""
    if media_type.endswith(("/json", "+json")):
        return (read_json(_json_text(body, charset), rules),)
    if media_type == FORM:
        form = _form(QueryParams(charsets.decode(body, charset)), media.shape)
        check_text(form)
        return (form,)
    return (charsets.decode(body, charset),) if media_type.startswith("text/") else None


def _json_text(body: bytes, charset: str) -> str:
    """Decodes JSON, which is in UTF-8 without a byte order mark (RFC 8259, 8.1). A charset that encodes ASCII as ASCII
    is allowed, since a reader that uses it reads the same document."""
    if charset and charsets.encoding(charset) == "utf-16":
        raise JsonError("expected JSON in UTF-8, got the charset utf-16")
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise JsonError(f"expected UTF-8, got something else at byte {error.start}") from None


def _form(pairs: QueryParams, shape: Shape) -> Json:
    fields: dict[str, list[Any]] = {}
    for name, text in pairs.pairs():
        fields.setdefault(name, []).append(parse_typed(text, shape.member(name).scalar()))
    return {
        name: values if shape.member(name).is_list() or len(values) > 1 else values[0]
        for name, values in fields.items()
    }
