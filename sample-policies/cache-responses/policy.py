"""Answers GET requests from memory while what upstream has answered is fresh (RFC 9111, as a shared cache).

Kept is a 200 for which upstream names a time, `cache-control: max-age` or `s-maxage`, unless it says no-store, no-cache
or private, sets a cookie, or varies by a header that `vary` does not name.

Know its limits. Each executor process has a cache of its own, gone with the process, and nothing takes an answer out
before its time. Who asks is what the gateway sees here: attach it behind the policies that decide who may ask, and to
operations whose answers are for all of those, or name in `vary` the header that tells them apart. Answers are held back
until they are complete, so it does not belong where upstream streams; for those that may be larger than `maxBodyBytes`,
attach it with `onError: {bodyTooLarge: continue}`, and they pass unkept.
"""

import re
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from sdk.policy import ImmediateResponse, RequestAction, RequestContext, ResponseAction, ResponseContext

NOTE = "cache-responses"
OF_ITS_CONNECTION = {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
NOT_KEPT = OF_ITS_CONNECTION | {"age", "content-length"}
DIRECTIVE = re.compile(r'([a-z-]+)(?:\s*=\s*"?([^\s",]*)"?)?')


@dataclass(frozen=True, slots=True)
class Answer:
    born: float  # time.monotonic() at which upstream, or a cache before it, made it
    lifetime: float
    headers: dict[str, list[str]]
    body: bytes

    def age(self) -> float:
        return time.monotonic() - self.born


class Cache:
    """The answers that were used last, as many as fit. Many threads use it at once."""

    def __init__(self, max_entries: int, max_bytes: int) -> None:
        self._max_entries, self._max_bytes, self._bytes = max_entries, max_bytes, 0
        self._answers: OrderedDict[str, Answer] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> Answer | None:
        with self._lock:
            answer = self._answers.get(key)
            if answer is None:
                return None
            if answer.age() >= answer.lifetime:
                self._drop(key)
                return None
            self._answers.move_to_end(key)
            return answer

    def put(self, key: str, answer: Answer) -> None:
        if len(answer.body) > self._max_bytes:
            return
        with self._lock:
            self._drop(key)
            self._answers[key] = answer
            self._bytes += len(answer.body)
            while len(self._answers) > self._max_entries or self._bytes > self._max_bytes:
                self._drop(next(iter(self._answers)))

    def _drop(self, key: str) -> None:
        if dropped := self._answers.pop(key, None):
            self._bytes -= len(dropped.body)


def prepare(params: dict[str, Any]) -> Cache:
    return Cache(params["maxEntries"], params["maxBytes"])


def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    wishes = directives(ctx.headers.get_all("cache-control"))
    partial = any(name.startswith("if-") or name == "range" for name in ctx.headers)
    if ctx.method != "GET" or partial or wishes.keys() & {"no-store", "no-cache", "max-age"}:
        return None
    authorized = "authorization" in ctx.headers
    varying = [ctx.headers.get_all(name) for name in params["vary"]]
    key = ascii((ctx.authority, ctx.path, ctx.query, authorized, varying))
    if answer := ctx.prepared.get(key):
        return ImmediateResponse(200, {**answer.headers, "age": str(int(answer.age()))}, answer.body)
    ctx.metadata[NOTE] = {"key": key, "authorized": authorized}
    return None


def on_response(ctx: ResponseContext, params: dict[str, Any]) -> ResponseAction:
    note = ctx.metadata.get(NOTE)
    if note and (lifetime := lifetime_of(ctx, note["authorized"], params["vary"])) > 0:
        headers = {name: ctx.headers.get_all(name) for name in ctx.headers if name not in NOT_KEPT}
        born = time.monotonic() - seconds(ctx.headers.get("age", "0"))
        ctx.prepared.put(note["key"], Answer(born, lifetime, headers, ctx.body or b""))
    return None


def lifetime_of(ctx: ResponseContext, authorized: bool, vary: list[str]) -> int:
    """For how many seconds the answer may be given to others; 0 if it may not."""
    says = directives(ctx.headers.get_all("cache-control"))
    if ctx.status_code != 200 or says.keys() & {"no-store", "no-cache", "private"} or "set-cookie" in ctx.headers:
        return 0
    if authorized and not says.keys() & {"public", "s-maxage", "must-revalidate"}:
        return 0
    varies = {name.strip().lower() for line in ctx.headers.get_all("vary") for name in line.split(",")} - {""}
    if varies - {name.lower() for name in vary} - {"accept-encoding"} or "content-encoding" in ctx.headers:
        return 0
    return seconds(says.get("s-maxage", says.get("max-age", "0")))


def directives(lines: list[str]) -> dict[str, str]:
    """Of cache-control, RFC 9111, 5.2."""
    return {name: value for line in lines for name, value in DIRECTIVE.findall(line.lower())}


def seconds(text: str) -> int:
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else 0
