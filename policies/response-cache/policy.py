"""Answers GET requests from memory while what upstream has answered is fresh: a shared cache, as RFC 9111 has it.

An answer is kept under scheme, authority, path, query and the upstream that was chosen, and under the headers that it
varies by. Nothing else of a request is to change what others get: requests with a body, a range, or one of the headers
that have upstreams take another host, path or method than the key has (OVERRIDES) pass, and their answers are not kept;
nor are those of requests that a policy behind this one has sent elsewhere, or changed in what the answer varies by.

A GET whose body neither Content-Length, Content-Type nor Transfer-Encoding tells of cannot be told from one without:
upstream has to ignore it, as RFC 9110, 9.3.1 has it.

Left out: validation of stale answers, stale-while-revalidate, answers to HEAD, ranges, warnings. Where the RFC leaves a
choice, the answer is not kept: `no-cache="x"` is `no-cache`, and directives that contradict each other are none.

Both phases may run in different processes; what the response phase needs is in the exchange's metadata. All of an
instance runs in one event loop, so that there is no lock.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

from sdk.metrics import Counter
from sdk.policy import (
    Headers,
    ImmediateResponse,
    RequestAction,
    RequestContext,
    ResponseAction,
    ResponseContext,
    UpstreamResponseModifications,
)

from sdk import clock

NOTE = "response-cache"
OVERHEAD = 1024
"""Bytes that an answer takes beside its body and headers, about."""
MOST_VARIANTS = 32
"""Of one resource: nobody fills the memory with the ways in which a client may ask."""
SAFE = {"GET", "HEAD", "OPTIONS", "TRACE"}
KEPT_STATUSES = {200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501}
OF_ITS_CONNECTION = {
    "connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authentication-info", "te", "trailer",
    "transfer-encoding", "upgrade",
}  # fmt: skip
NOT_KEPT = OF_ITS_CONNECTION | {"age", "content-length", "cache-status", "x-request-id"}
OVERRIDES = {
    "forwarded", "x-forwarded-host", "x-forwarded-path", "x-forwarded-port", "x-forwarded-prefix",
    "x-forwarded-protocol", "x-forwarded-scheme", "x-forwarded-server", "x-forwarded-ssl", "x-forwarded-uri", "x-host",
    "x-http-host-override", "x-http-method", "x-http-method-override", "x-method-override", "x-original-host",
    "x-original-uri", "x-original-url", "x-rewrite-url", "x-scheme", "x-script-name", "x-url-scheme", "front-end-https",
}  # fmt: skip
CONDITIONS = {"if-match", "if-modified-since", "if-unmodified-since", "if-range", "range"}
OF_304 = ("cache-control", "content-location", "date", "etag", "expires", "vary")
DIRECTIVE = re.compile(
    r"""[\s,]*+([!#$%&'*+.^_`|~0-9A-Za-z-]++)(?:=(?:"((?:[^"\\]|\\.)*+)"|([^\s",]*+)))?+\s*+(?:,|$)"""
)  # possessive, so that no line costs more than its length

LOOKUPS = Counter("cache_lookups_total", "Requests that could be answered from memory.", labels=["result"])


@dataclass(frozen=True, slots=True)
class Answer:
    """What is kept."""

    status: int
    headers: dict[str, list[str]]
    body: bytes
    born: float
    """clock.monotonic() at which it was made, by upstream or a cache before it."""
    until: float
    for_all: bool
    """Whether upstream says that it is for clients that are known, too."""

    @property
    def age(self) -> int:
        return max(0, int(clock.monotonic() - self.born))

    @property
    def size(self) -> int:
        lines = sum(len(name) + sum(map(len, values)) for name, values in self.headers.items())
        return len(self.body) + lines + OVERHEAD


Variant = tuple[str, ...]


@dataclass(slots=True)
class Resource:
    names: Variant = ()
    """Of the headers that its last answer varies by."""
    variants: OrderedDict[Variant, Answer] = field(default_factory=OrderedDict)


class Cache:
    """The answers that were used last, as many as fit."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes, self.bytes = max_bytes, 0
        self._resources: dict[str, Resource] = {}
        self._used: OrderedDict[tuple[str, Variant], None] = OrderedDict()

    def get(self, key: str, values: Mapping[str, str]) -> Answer | None:
        """The fresh one."""
        resource = self._resources.get(key)
        if resource is None:
            return None
        variant = tuple(values.get(name, "") for name in resource.names)
        answer = resource.variants.get(variant)
        if answer is None:
            return None
        if clock.monotonic() >= answer.until:
            self._drop(key, variant)
            return None
        self._used.move_to_end((key, variant))
        return answer

    def put(self, key: str, names: Variant, values: Mapping[str, str], answer: Answer) -> bool:
        """Whether it fits."""
        if answer.size > self._max_bytes // 4:
            return False
        if key in self._resources and self._resources[key].names != names:
            self.forget(key)
        variant = tuple(values.get(name, "") for name in names)
        self._drop(key, variant)
        resource = self._resources.setdefault(key, Resource(names))
        if len(resource.variants) >= MOST_VARIANTS:
            self._drop(key, next(iter(resource.variants)))
        resource.variants[variant] = answer
        self._used[(key, variant)] = None
        self.bytes += answer.size
        while self.bytes > self._max_bytes:
            self._drop(*next(iter(self._used)))
        return True

    def forget(self, key: str) -> None:
        """All of a resource."""
        for variant in list(self._resources[key].variants) if key in self._resources else ():
            self._drop(key, variant)

    def _drop(self, key: str, variant: Variant) -> None:
        resource = self._resources.get(key)
        if resource is None or variant not in resource.variants:
            return
        self.bytes -= resource.variants.pop(variant).size
        del self._used[(key, variant)]
        if not resource.variants:
            del self._resources[key]


async def prepare(params: dict[str, Any]) -> AsyncIterator[Cache]:
    yield Cache(params["maxBytes"])


async def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    key = key_of(ctx, ctx.path, ctx.query)
    ctx.metadata.pop(NOTE, None)  # nobody but this policy has a say in it
    if ctx.method not in SAFE:
        ctx.metadata[NOTE] = {"forget": key}
        return None
    wishes = directives(ctx.headers.get_all("cache-control")) if params["clientDirectives"] == "honour" else {}
    values, why = values_of(ctx.headers, params["vary"]), bypassed(ctx)
    if not why:
        answer = ctx.prepared.get(key, values)
        if answer is not None and (answer.for_all or not is_known(ctx)) and is_fresh_enough(answer, wishes):
            LOOKUPS.inc(result="hit")
            return answered(ctx, answer, params)
        LOOKUPS.inc(result="miss")
    if "only-if-cached" in wishes:
        return unanswered(params)
    if why or "no-store" in wishes:
        ctx.metadata[NOTE] = {"why": why or "request"}
    else:
        ctx.metadata[NOTE] = {"key": key, "values": values, "known": is_known(ctx)}
    return None


async def on_response(ctx: ResponseContext, params: dict[str, Any]) -> ResponseAction:
    note, cache = ctx.metadata.get(NOTE), ctx.request.prepared
    if not isinstance(note, dict):
        return None
    if "forget" in note:
        if 200 <= ctx.status_code < 400:
            for key in {note["forget"], *others_of(ctx)}:
                cache.forget(key)
        return None
    stored = "key" in note and keep(cache, ctx, note, params)
    if not params["cacheStatus"]:
        return None
    why = note.get("why", "uri-miss")
    said = f"gatewright; fwd={why}; stored" if stored else f"gatewright; fwd={why}"
    return UpstreamResponseModifications(append_headers={"cache-status": said})


# ---------------------------------------------------------------- requests


def key_of(ctx: RequestContext, path: str, query: str) -> str:
    """Of what a GET of this path would be answered with."""
    parts = json.dumps([ctx.scheme, ctx.authority.lower(), path, query, ctx.upstream])
    return hashlib.sha256(parts.encode()).hexdigest()


def values_of(headers: Headers, names: list[str]) -> dict[str, str]:
    """What each of these headers says: a digest, which is as long whatever a client has sent."""
    return {
        name.lower(): hashlib.sha256(ascii(headers.get_all(name)).encode()).hexdigest()[:32]
        for name in names
        if name in headers
    }


def bypassed(ctx: RequestContext) -> str:
    """Why a request has nothing to do with the memory, as Cache-Status calls it; "" where it has."""
    if ctx.method != "GET":
        return "method"
    names = {name.lower().replace("_", "-") for name in ctx.headers}  # upstreams may take one for the other
    has_body = "transfer-encoding" in names or "content-type" in names or ctx.headers.get("content-length", "0") != "0"
    return "bypass" if has_body or names & OVERRIDES or names & CONDITIONS else ""


def is_known(ctx: RequestContext) -> bool:
    """Whether an answer may be for this client alone (RFC 9111, 3.5, and what else says who asks)."""
    has_credentials = "authorization" in ctx.headers or "cookie" in ctx.headers
    return has_credentials or ctx.identity is not None or ctx.peer is not None


def is_fresh_enough(answer: Answer, wishes: Mapping[str, str]) -> bool:
    """RFC 9111, 5.2.1. What cannot be read asks for the freshest."""
    if "no-cache" in wishes or CONTRADICTION in wishes:
        return False
    oldest, least = seconds(wishes.get("max-age")), seconds(wishes.get("min-fresh"))
    if ("max-age" in wishes and oldest is None) or ("min-fresh" in wishes and least is None):
        return False
    left = answer.until - clock.monotonic()
    return (oldest is None or answer.age <= oldest) and (least is None or left >= least)


def unanswered(params: Mapping[str, Any]) -> ImmediateResponse:
    """To only-if-cached, RFC 9111, 5.2.1.7."""
    problem = {"type": "about:blank", "title": "Gateway Timeout", "status": 504, "detail": "no fresh answer is kept"}
    headers = {"content-type": "application/problem+json"}
    return ImmediateResponse(504, headers | status_header("miss", params), json.dumps(problem))


def status_header(said: str, params: Mapping[str, Any]) -> dict[str, str]:
    return {"cache-status": f"gatewright; {said}"} if params["cacheStatus"] else {}


def answered(ctx: RequestContext, answer: Answer, params: Mapping[str, Any]) -> ImmediateResponse:
    left = max(0, int(answer.until - clock.monotonic()))
    more = {"age": str(answer.age), **status_header(f"hit; ttl={left}", params)}
    if matches(ctx.headers.get_all("if-none-match"), answer):
        headers = {name: answer.headers[name] for name in OF_304 if name in answer.headers}
        return ImmediateResponse(304, {**headers, **more})
    return ImmediateResponse(answer.status, {**answer.headers, **more}, answer.body)


def matches(lines: list[str], answer: Answer) -> bool:
    """Weak comparison, RFC 9110, 13.1.2."""
    tags = answer.headers.get("etag", [])
    if not lines or answer.status != 200 or len(tags) != 1:
        return False
    asked = [tag.strip().removeprefix("W/") for line in lines for tag in line.split(",")]
    return "*" in asked or tags[0].removeprefix("W/") in asked


# ---------------------------------------------------------------- responses


def keep(cache: Cache, ctx: ResponseContext, note: Mapping[str, Any], params: Mapping[str, Any]) -> bool:
    """Keeps the answer where it may be given to others. Whether it was."""
    request, names = ctx.request, varies_by(ctx.headers, params["vary"])
    lifetime, for_all = lifetime_of(ctx, params)
    if names is None or lifetime <= 0 or ((note["known"] or is_known(request)) and not for_all):
        return False
    values = values_of(request.headers, list(names))  # as policies behind this one have left them
    is_another = request.method != "GET" or key_of(request, request.path, request.query) != note["key"]
    if is_another or any(values.get(name) != note["values"].get(name) for name in names):
        return False
    age = age_of(ctx.headers)
    if age is None or age >= lifetime:
        return False
    nominated = {name.strip().lower() for line in ctx.headers.get_all("connection") for name in line.split(",")}
    headers = {
        name: ctx.headers.get_all(name) for name in ctx.headers if name not in NOT_KEPT and name not in nominated
    }
    born = clock.monotonic() - age
    answer = Answer(ctx.status_code, headers, ctx.body or b"", born, born + lifetime, for_all)
    return cache.put(note["key"], names, values, answer)


def varies_by(headers: Headers, allowed: list[str]) -> Variant | None:
    """The names of Vary, sorted; None where the answer may not be given to another request."""
    names = {name.strip().lower() for line in headers.get_all("vary") for name in line.split(",")} - {""}
    if names - {name.lower() for name in allowed}:
        return None
    if "content-encoding" in headers and "accept-encoding" not in names:
        return None
    return tuple(sorted(names))


def lifetime_of(ctx: ResponseContext, params: Mapping[str, Any]) -> tuple[int, bool]:
    """For how many seconds from its making the answer is fresh, 0 where it may not be kept; and whether it is for
    clients that are known, too."""
    said = directives(ctx.headers.get_all("cache-control"))
    if ctx.status_code not in KEPT_STATUSES or said.keys() & {"no-store", "no-cache", "private", CONTRADICTION}:
        return 0, False
    if "set-cookie" in ctx.headers or "content-range" in ctx.headers:
        return 0, False
    for_all = bool(said.keys() & {"public", "s-maxage", "must-revalidate"})
    for name in ("s-maxage", "max-age"):
        if name in said:
            return min(seconds(said[name]) or 0, params["maxLifetimeSeconds"]), for_all
    if "expires" in ctx.headers:
        expires, date = moment(ctx.headers.get_all("expires")), moment(ctx.headers.get_all("date"))
        lifetime = int(expires - (clock.now() if date is None else date)) if expires is not None else 0
    else:
        lifetime = params["lifetimes"].get(str(ctx.status_code), 0)
    return min(lifetime, params["maxLifetimeSeconds"]), for_all


def age_of(headers: Headers) -> int | None:
    """How old an answer is when it comes (RFC 9111, 4.2.3); None where it says what is no number."""
    lines = headers.get_all("age")
    said = seconds(lines[0]) if len(lines) == 1 else None
    if lines and said is None:
        return None
    date = moment(headers.get_all("date"))
    apparent = max(0, int(clock.now() - date)) if date is not None else 0
    return max(apparent, said or 0)


def others_of(ctx: ResponseContext) -> list[str]:
    """The keys of what an unsafe method says that it has changed, of the same origin (RFC 9111, 4.4)."""
    request = ctx.request
    base = f"{request.scheme}://{request.authority}{request.path}"
    found = []
    for name in ("location", "content-location"):
        for line in ctx.headers.get_all(name):
            try:
                target = urlsplit(urljoin(base, line))
            except ValueError:
                continue
            if (target.scheme, target.netloc.lower()) == (request.scheme, request.authority.lower()):
                found.append(key_of(request, target.path, target.query))
    return found


# ---------------------------------------------------------------- header fields

CONTRADICTION = "\x00"
"""Stands among directives where two of the same name differ, or a line is no list of directives."""


def directives(lines: list[str]) -> dict[str, str]:
    """Of Cache-Control (RFC 9111, 5.2), names in lower case."""
    found: dict[str, str] = {}
    for line in lines:
        at = 0
        while part := DIRECTIVE.match(line, at):
            name, value = part[1].lower(), part[2] if part[2] is not None else part[3] or ""
            if found.setdefault(name, value) != value:
                found[CONTRADICTION] = ""
            at = part.end()
        if line[at:].strip(" \t,"):
            found[CONTRADICTION] = ""
    return found


def seconds(text: str | None) -> int | None:
    """RFC 9111, 1.2.2; None where it is no number."""
    return min(int(text), 2**31) if text is not None and re.fullmatch(r"[0-9]{1,20}", text) else None


def moment(lines: list[str]) -> float | None:
    """Of Date and Expires, in seconds since 1970; None where there is none, several, or what is none."""
    if len(lines) != 1:
        return None
    try:
        return parsedate_to_datetime(lines[0]).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
