"""What a body is to be, by its content type: the schema of each, and what is wrong with a body."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sdk.policy import Headers, QueryParams

from sdk import charsets

from .json_schema import Json, JsonError, Rules, Validator, check_text, compiled, mistakes, read_json
from .shapes import ANY, Shape, typed

FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Finding:
    """Why a message is refused.

    reason: of a few, a metric's label. errors: `{"in", "pointer", "message"}` and, of a parameter, "name".
    """

    reason: str
    errors: list[Json]


def finding(reason: str, where: str, message: str, at: str = "") -> Finding:
    return Finding(reason, [{"in": where, "pointer": at, "message": message}])


@dataclass(frozen=True, slots=True)
class Media:
    """What a body of one media type has to be; without a validator, anything."""

    validator: Validator | None = None
    shape: Shape = ANY


@dataclass(frozen=True, slots=True)
class Content:
    """By media types and ranges in lower case: application/json, application/*+json, text/*, */*."""

    media: Mapping[str, Media]

    def find(self, media_type: str) -> Media | None:
        kind, _, name = media_type.partition("/")
        ranges = (media_type, f"{kind}/*+{name.rpartition('+')[2]}" if "+" in name else "", f"{kind}/*", "*/*")
        return next((self.media[each] for each in ranges if each in self.media), None)

    def wrong(self, headers: Headers, body: bytes, rules: Rules) -> Finding | None:
        """What is wrong with a body that is there; None where nothing is."""
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


def inline(params: Mapping[str, Any], rules: Rules) -> Content:
    """What an attachment's `schema` and `contentTypes` say. ValueError says where the schema is wrong."""
    media = Media(compiled(json.loads(json.dumps(params["schema"])), rules))
    return Content({each.lower(): media for each in params["contentTypes"]})


def _value(media_type: str, media: Media, body: bytes, charset: str, rules: Rules) -> tuple[Any] | None:
    """The body as a value; None where it is of a kind that is not read. JsonError, CharsetError: it cannot be read."""
    if media_type.endswith(("/json", "+json")):
        return (read_json(_json_text(body, charset), rules),)
    if media_type == FORM:
        form = _form(QueryParams(charsets.decode(body, charset)), media.shape)
        check_text(form)
        return (form,)
    return (charsets.decode(body, charset),) if media_type.startswith("text/") else None


def _json_text(body: bytes, charset: str) -> str:
    """JSON is in UTF-8, without a byte order mark (RFC 8259, 8.1). A charset that has ASCII as ASCII is let in: another
    reader, which goes by it, reads the same document."""
    if charset and charsets.encoding(charset) == "utf-16":
        raise JsonError("expected JSON in UTF-8, got the charset utf-16")
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise JsonError(f"expected UTF-8, got something else at byte {error.start}") from None


def _form(pairs: QueryParams, shape: Shape) -> Json:
    found: dict[str, list[Any]] = {}
    for name, text in pairs.pairs():
        found.setdefault(name, []).append(typed(text, shape.member(name).scalar()))
    return {
        name: values if shape.member(name).is_list() or len(values) > 1 else values[0] for name, values in found.items()
    }
