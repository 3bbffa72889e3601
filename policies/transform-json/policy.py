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
from typing import Any

import jmespath  # type: ignore[import-untyped]
from jmespath.exceptions import JMESPathError  # type: ignore[import-untyped]
from jmespath.functions import Functions, signature  # type: ignore[import-untyped]
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

Json = dict[str, Any]
JSON = {"content-type": "application/json"}
DIGESTS = ["digest", "content-digest", "repr-digest", "content-md5", "accept-ranges"]
"""Headers that are valid only for the old body."""

log = logging.getLogger(__name__)


class FailedError(ValueError):
    """A body cannot be transformed. The message is only for the log, since it may quote the body."""


class OtherTypeError(Exception):
    """The content type of a body is not JSON."""


@dataclass(frozen=True, slots=True)
class Transformation:
    """depth: the most levels of the body. size: the most bytes of the result, and of each result of `join`."""

    expression: Any
    options: jmespath.Options
    depth: int
    size: int

    def apply(self, body: bytes) -> bytes:
        value = read_json(body, self.depth)
        try:
            result = self.expression.search(value, options=self.options)
        except (ValueError, TypeError, ArithmeticError, RecursionError) as error:  # contains('a', `1`) is a TypeError
            raise FailedError(str(error)) from None
        check_size(result, self.size)
        try:
            text = json.dumps(result, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
        except (ValueError, RecursionError) as error:  # infinity, or half of a surrogate pair
            raise FailedError(f"expected a result that JSON can have: {error}") from None
        if len(text) > self.size:
            raise too_large(self.size)
        return text


# ------------------------------------------------------------------ expressions


def prepare(params: Json) -> dict[str, Transformation]:
    """The transformations by "request" and "response"."""
    return {
        direction: Transformation(
            compile_expression(params[direction], direction),
            jmespath.Options(custom_functions=bounded_functions(params["maxBytes"])),
            params["maxDepth"],
            params["maxBytes"],
        )
        for direction in ("request", "response")
        if direction in params
    }


def compile_expression(expression: str, name: str) -> Any:
    """Compiles the expression. ValueError: its first mistake."""
    try:
        result = jmespath.compile(expression)
        invalid_call = next(find_invalid_calls(result.parsed), None)
    except (JMESPathError, RecursionError) as error:
        raise ValueError(f"expected a JMESPath expression for {name}, got a mistake: {error}") from None
    if invalid_call is not None:
        raise ValueError(f"expected a JMESPath expression for {name}, got {invalid_call}")
    return result


def find_invalid_calls(node: Json) -> Iterator[str]:
    """Yields calls of unknown functions, and those with a wrong number of arguments."""
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
            yield from find_invalid_calls(child)


def bounded_functions(size: int) -> Functions:
    """Returns JMESPath's functions with a `join` that limits its result: it is the only function that can make a large
    text from small ones, with a long separator."""

    class Bounded(Functions):  # type: ignore[misc]  # jmespath has no types
        @signature({"types": ["string"]}, {"types": ["array-string"]})  # type: ignore[untyped-decorator]
        def _func_join(self, separator: str, texts: list[str]) -> str:
            if sum(map(len, texts)) + len(separator) * len(texts) > size:
                raise too_large(size)
            return separator.join(texts)

    return Bounded()


# ------------------------------------------------------------------ values


def read_json(body: bytes, depth: int) -> Any:
    try:
        value = json.loads(body.decode(), parse_float=parse_finite, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        raise FailedError(f"expected JSON: {error}") from None
    level: list[Any] = [value]
    for _ in range(depth):
        level = [inner for outer in level if isinstance(outer, dict | list) for inner in children_of(outer)]
    if any(isinstance(inner, dict | list) for inner in level):
        raise FailedError(f"expected JSON with at most {depth} levels, got more")
    return value


def children_of(value: Json | list[Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def parse_finite(number: str) -> float:
    value = float(number)
    if math.isinf(value):
        raise FailedError("a number is larger than a double")
    return value


def refuse_constant(_: str) -> None:
    raise FailedError("NaN and Infinity are not numbers in JSON")


def check_size(value: Any, size: int) -> None:
    """Checks an estimate of the size before writing, since a value may occur many times in the result: a byte for each
    value, and the length of strings."""
    level, cost = [value], 1
    while level:
        cost += sum(len(inner) for inner in level if isinstance(inner, dict | list | str))
        if cost > size:
            raise too_large(size)
        level = [inner for outer in level if isinstance(outer, dict | list) for inner in children_of(outer)]


def too_large(size: int) -> FailedError:
    return FailedError(f"expected a result of at most {size} bytes, got more")


# ------------------------------------------------------------------ messages


def on_request(ctx: RequestContext, params: Json) -> RequestAction:
    try:
        body = transform(ctx.headers, ctx.body, ctx.prepared.get("request"), params.get("otherTypes", "pass"))
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
        body = transform(ctx.headers, ctx.body, ctx.prepared.get("response"), params.get("otherTypes", "refuse"))
    except (OtherTypeError, FailedError) as error:
        log.warning("a response with status %d cannot be transformed: %s", ctx.status_code, error or "its type")
        is_passed = isinstance(error, FailedError) and params["onFailure"] == "pass"
        return None if is_passed else problem(502, "the upstream's response cannot be transformed")
    return None if body is None else UpstreamResponseModifications(set_headers=JSON, remove_headers=DIGESTS, body=body)


def transform(
    headers: Headers, body: bytes | None, transformation: Transformation | None, other_types: str
) -> bytes | None:
    """Returns the new body; None if it stays unchanged."""
    if not body or transformation is None:
        return None
    lines = headers.get_all("content-type")
    media_type = "".join(lines[:1]).partition(";")[0].strip().lower()
    if len(lines) == 1 and media_type.endswith(("/json", "+json")):
        return transformation.apply(body)
    if other_types == "pass" and len(lines) < 2:
        return None
    raise OtherTypeError
