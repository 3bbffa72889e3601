"""Makes another JSON of a JSON body, by an expression of JMESPath (https://jmespath.org), in either direction.

An expression is checked when the API is published: its syntax, the names of functions and how many arguments they are
given. What is wrong with a body only shows when one comes: no JSON, text where a function takes numbers.

Know its limits: a body has at most the attachment's `maxBodyBytes`, and both directions are gathered, whichever is
transformed. JMESPath sees one value and what is in it, and has no names for others. Of an object in which a name stands
twice the last one counts. The result is written anew: numbers with a fraction are doubles.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import jmespath  # type: ignore[import-untyped]
from jmespath.exceptions import JMESPathError  # type: ignore[import-untyped]
from jmespath.functions import Functions, signature  # type: ignore[import-untyped]
from sdk.policy import (
    Headers,
    ImmediateResponse,
    RequestAction,
    RequestContext,
    ResponseAction,
    ResponseContext,
    UpstreamRequestModifications,
    UpstreamResponseModifications,
)

Json = dict[str, Any]
JSON = {"content-type": "application/json"}
DIGESTS = ["digest", "content-digest", "repr-digest", "content-md5", "accept-ranges"]
"""Of the body that is replaced."""

log = logging.getLogger(__name__)


class FailedError(ValueError):
    """A body cannot be transformed. The text says why, and may quote the body: it is for the log."""


class OtherTypeError(Exception):
    """A body is not said to be JSON."""


@dataclass(frozen=True, slots=True)
class Transformation:
    """depth: of values in values, in the body. size: bytes of the result, and of each text that is joined."""

    expression: Any
    options: jmespath.Options
    depth: int
    size: int

    def of(self, body: bytes) -> bytes:
        value = read(body, self.depth)
        try:
            result = self.expression.search(value, options=self.options)
        except (ValueError, TypeError, ArithmeticError, RecursionError) as error:  # contains('a', `1`) is a TypeError
            raise FailedError(str(error)) from None
        check_size(result, self.size)
        try:
            made = json.dumps(result, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
        except (ValueError, RecursionError) as error:  # of infinity, or half of a character
            raise FailedError(f"expected a result that JSON can have: {error}") from None
        if len(made) > self.size:
            raise too_large(self.size)
        return made


# ------------------------------------------------------------------ expressions


def prepare(params: Json) -> dict[str, Transformation]:
    """By "request" and "response", those that there are."""
    return {
        direction: Transformation(
            compiled(params[direction], direction),
            jmespath.Options(custom_functions=bounded(params["maxBytes"])),
            params["maxDepth"],
            params["maxBytes"],
        )
        for direction in ("request", "response")
        if direction in params
    }


def compiled(expression: str, name: str) -> Any:
    """ValueError says what is wrong with an expression."""
    try:
        found = jmespath.compile(expression)
        wrong = next(wrong_calls(found.parsed), None)
    except (JMESPathError, RecursionError) as error:
        raise ValueError(f"expected an expression of JMESPath for {name}, got a mistake: {error}") from None
    if wrong is not None:
        raise ValueError(f"expected an expression of JMESPath for {name}, got {wrong}")
    return found


def wrong_calls(node: Json) -> Iterator[str]:
    """Calls of functions that there are not, or with too few or too many arguments."""
    if node["type"] == "function_expression":
        name, count = node["value"], len(node["children"])
        known = Functions.FUNCTION_TABLE.get(name)
        if known is None:
            yield f"the function {name}, where there are {', '.join(sorted(Functions.FUNCTION_TABLE))}"
        else:
            wanted = known["signature"]
            is_open = bool(wanted) and wanted[-1].get("variadic", False)
            if count < len(wanted) or (count > len(wanted) and not is_open):
                yield f"{name} with {count} arguments, where it takes {len(wanted)}{' or more' if is_open else ''}"
    for child in node["children"]:
        if isinstance(child, dict):
            yield from wrong_calls(child)


def bounded(size: int) -> Functions:
    """JMESPath's functions, with a `join` that makes no text larger than the result may be: it is the one that makes
    much of little, a long separator between many texts."""

    class Bounded(Functions):  # type: ignore[misc]  # it has no types
        @signature({"types": ["string"]}, {"types": ["array-string"]})  # type: ignore[untyped-decorator]
        def _func_join(self, separator: str, texts: list[str]) -> str:
            if sum(map(len, texts)) + len(separator) * len(texts) > size:
                raise too_large(size)
            return separator.join(texts)

    return Bounded()


# ------------------------------------------------------------------ values


def read(body: bytes, depth: int) -> Any:
    try:
        value = json.loads(body.decode(), parse_float=finite, parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        raise FailedError(f"expected JSON: {error}") from None
    level: list[Any] = [value]
    for _ in range(depth):
        level = [inner for outer in level if isinstance(outer, dict | list) for inner in inner_of(outer)]
    if any(isinstance(each, dict | list) for each in level):
        raise FailedError(f"expected JSON with at most {depth} levels, got more")
    return value


def inner_of(value: Json | list[Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def finite(number: str) -> float:
    value = float(number)
    if math.isinf(value):
        raise FailedError("a number is larger than a double")
    return value


def no_constant(_: str) -> None:
    raise FailedError("NaN and Infinity are no numbers of JSON")


def check_size(value: Any, size: int) -> None:
    """Before it is written: an expression may name one value many times. Each costs a byte, and a text its length."""
    level, cost = [value], 1
    while level:
        cost += sum(len(each) for each in level if isinstance(each, dict | list | str))
        if cost > size:
            raise too_large(size)
        level = [inner for outer in level if isinstance(outer, dict | list) for inner in inner_of(outer)]


def too_large(size: int) -> FailedError:
    return FailedError(f"expected a result of at most {size} bytes, got more")


# ------------------------------------------------------------------ messages


def on_request(ctx: RequestContext, params: Json) -> RequestAction:
    try:
        made = transformed(ctx.headers, ctx.body, ctx.prepared.get("request"), params.get("otherTypes", "pass"))
    except OtherTypeError:
        return problem(415, "expected a body of JSON")
    except FailedError as error:
        log.info("a request cannot be transformed: %s", error)
        return None if params["onFailure"] == "pass" else problem(400, "the body cannot be transformed")
    return None if made is None else UpstreamRequestModifications(set_headers=JSON, remove_headers=DIGESTS, body=made)


def on_response(ctx: ResponseContext, params: Json) -> ResponseAction:
    if not {str(ctx.status_code), f"{ctx.status_code // 100}XX"} & {*params["statuses"]}:
        return None
    try:
        made = transformed(ctx.headers, ctx.body, ctx.prepared.get("response"), params.get("otherTypes", "refuse"))
    except (OtherTypeError, FailedError) as error:
        log.warning("a response with status %d cannot be transformed: %s", ctx.status_code, error or "its type")
        is_passed = isinstance(error, FailedError) and params["onFailure"] == "pass"
        return None if is_passed else problem(502, "upstream's answer cannot be transformed")
    return None if made is None else UpstreamResponseModifications(set_headers=JSON, remove_headers=DIGESTS, body=made)


def transformed(headers: Headers, body: bytes | None, by: Transformation | None, other_types: str) -> bytes | None:
    """None: it stays as it is."""
    if not body or by is None:
        return None
    lines = headers.get_all("content-type")
    media_type = "".join(lines[:1]).partition(";")[0].strip().lower()
    if len(lines) == 1 and media_type.endswith(("/json", "+json")):
        return by.of(body)
    if other_types == "pass" and len(lines) < 2:
        return None
    raise OtherTypeError


def problem(status: int, detail: str) -> ImmediateResponse:
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return ImmediateResponse(status, {"content-type": "application/problem+json"}, json.dumps(body))
