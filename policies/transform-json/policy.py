"""Transforms a JSON body by a JMESPath expression (https://jmespath.org), in either direction.

An expression is checked when the API is published: its syntax, the names of functions and the number of their
arguments. Mistakes in bodies appear only when they come: no JSON, or text where a function needs numbers.

Limits: a body has at most the attachment's `maxBodyBytes`, and both directions are buffered, even if only one is
transformed. JMESPath sees the body only, and no other values of the request. If an object has a name twice, the last
one counts. The result is written anew: numbers with a fraction are doubles.
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
"""Headers about the old body."""

log = logging.getLogger(__name__)


class FailedError(ValueError):
    """A body cannot be transformed. The text says why, and is for the log only, since it may quote the body."""


class OtherTypeError(Exception):
    """The content type of a body is not JSON."""


@dataclass(frozen=True, slots=True)
class Transformation:
    """depth: the most levels of the body. size: the most bytes of the result, and of each joined text."""

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
            text = json.dumps(result, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
        except (ValueError, RecursionError) as error:  # infinity, or half of a character
            raise FailedError(f"expected a result that JSON can have: {error}") from None
        if len(text) > self.size:
            raise too_large(self.size)
        return text


# ------------------------------------------------------------------ expressions


def prepare(params: Json) -> dict[str, Transformation]:
    """The transformations by "request" and "response"."""
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
    """The compiled expression. ValueError says what is wrong with it."""
    try:
        result = jmespath.compile(expression)
        wrong = next(wrong_calls(result.parsed), None)
    except (JMESPathError, RecursionError) as error:
        raise ValueError(f"expected a JMESPath expression for {name}, got a mistake: {error}") from None
    if wrong is not None:
        raise ValueError(f"expected a JMESPath expression for {name}, got {wrong}")
    return result


def wrong_calls(node: Json) -> Iterator[str]:
    """Calls of unknown functions, or with a wrong number of arguments."""
    if node["type"] == "function_expression":
        name, count = node["value"], len(node["children"])
        known = Functions.FUNCTION_TABLE.get(name)
        if known is None:
            yield f"the function {name}; known are {', '.join(sorted(Functions.FUNCTION_TABLE))}"
        else:
            signature = known["signature"]
            is_open = bool(signature) and signature[-1].get("variadic", False)
            if count < len(signature) or (count > len(signature) and not is_open):
                yield f"{name} with {count} arguments; it takes {len(signature)}{' or more' if is_open else ''}"
    for child in node["children"]:
        if isinstance(child, dict):
            yield from wrong_calls(child)


def bounded(size: int) -> Functions:
    """JMESPath's functions, with a `join` whose text is not larger than the result may be: it is the only one that
    makes a large text of small ones, by a long separator."""

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
    if any(isinstance(inner, dict | list) for inner in level):
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
    raise FailedError("NaN and Infinity are not numbers in JSON")


def check_size(value: Any, size: int) -> None:
    """Estimates the size before writing, since a value may occur many times: a byte each, and the length of texts."""
    level, cost = [value], 1
    while level:
        cost += sum(len(inner) for inner in level if isinstance(inner, dict | list | str))
        if cost > size:
            raise too_large(size)
        level = [inner for outer in level if isinstance(outer, dict | list) for inner in inner_of(outer)]


def too_large(size: int) -> FailedError:
    return FailedError(f"expected a result of at most {size} bytes, got more")


# ------------------------------------------------------------------ messages


def on_request(ctx: RequestContext, params: Json) -> RequestAction:
    try:
        body = transformed(ctx.headers, ctx.body, ctx.prepared.get("request"), params.get("otherTypes", "pass"))
    except OtherTypeError:
        return problem(415, "expected a JSON body")
    except FailedError as error:
        log.info("a request cannot be transformed: %s", error)
        return None if params["onFailure"] == "pass" else problem(400, "the body cannot be transformed")
    return None if body is None else UpstreamRequestModifications(set_headers=JSON, remove_headers=DIGESTS, body=body)


def on_response(ctx: ResponseContext, params: Json) -> ResponseAction:
    if not {str(ctx.status_code), f"{ctx.status_code // 100}XX"} & {*params["statuses"]}:
        return None
    try:
        body = transformed(ctx.headers, ctx.body, ctx.prepared.get("response"), params.get("otherTypes", "refuse"))
    except (OtherTypeError, FailedError) as error:
        log.warning("a response with status %d cannot be transformed: %s", ctx.status_code, error or "its type")
        is_passed = isinstance(error, FailedError) and params["onFailure"] == "pass"
        return None if is_passed else problem(502, "the upstream's response cannot be transformed")
    return None if body is None else UpstreamResponseModifications(set_headers=JSON, remove_headers=DIGESTS, body=body)


def transformed(headers: Headers, body: bytes | None, by: Transformation | None, other_types: str) -> bytes | None:
    """The transformed body; None if it stays as it is."""
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
