"""Answers GET requests with cached responses while these are fresh: a shared cache (RFC 9111).

The cache key consists of scheme, authority, path, query, the chosen upstream, and the headers in Vary. Other parts of a
request must not affect cached responses: requests with a body, a range, or a header by which upstreams use another
host, path or method than the key's (OVERRIDES) bypass the cache, and so do responses to requests that a later policy
has sent elsewhere, or in which it has changed a header of Vary.

Stale responses (RFC 5861): since a policy cannot send requests upstream itself, a client's request goes upstream for
revalidation, and that client waits; other requests meanwhile get the stale response. If no new response comes, the
next request goes after REVALIDATION seconds.

Responses are cached in the process (caching.in_process) or in the store (caching.in_store), where unsafe methods and
purges remove them for all processes. A response that is on its way from the upstream at that time is still cached.
While the store does not answer, nothing is removed, and a purge reports that to its client.

Not supported: validation of stale responses by the upstream, answers to HEAD, ranges, warnings, purges of several URLs.
If the RFC leaves a choice, the response is not cached: `no-cache="x"` counts as `no-cache`, and contradictory
directives prevent caching.

The two phases may run in different processes, so the response phase gets its data from the exchange's metadata.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from sdk import clock
from sdk.metrics import Counter
from sdk.policy import (
    Headers,
    ImmediateResponse,
    PolicyMetadata,
    RequestAction,
    RequestContext,
    ResponseAction,
    ResponseContext,
    UpstreamResponseModifications,
)
from sdk.problems import problem

if TYPE_CHECKING:
    from caching.answers import Answer, Cache, Names
    from caching.fields import CONTRADICTION, directives, moment, seconds
    from caching.in_process import ProcessCache
    from caching.in_store import StoreCache
else:
    from .caching.answers import Answer, Cache, Names
    from .caching.fields import CONTRADICTION, directives, moment, seconds
    from .caching.in_process import ProcessCache
    from .caching.in_store import StoreCache

NOTE = "response-cache"
SAFE = {"GET", "HEAD", "OPTIONS", "TRACE"}
CACHEABLE_STATUSES = {200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501}
HOP_BY_HOP = {
    "connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authentication-info", "te", "trailer",
    "transfer-encoding", "upgrade",
}  # fmt: skip
NOT_CACHED = HOP_BY_HOP | {"age", "content-length", "cache-status", "x-request-id"}
OVERRIDES = {
    "forwarded", "x-forwarded-host", "x-forwarded-path", "x-forwarded-port", "x-forwarded-prefix",
    "x-forwarded-protocol", "x-forwarded-scheme", "x-forwarded-server", "x-forwarded-ssl", "x-forwarded-uri", "x-host",
    "x-http-host-override", "x-http-method", "x-http-method-override", "x-method-override", "x-original-host",
    "x-original-uri", "x-original-url", "x-rewrite-url", "x-scheme", "x-script-name", "x-url-scheme", "front-end-https",
}  # fmt: skip
CONDITIONS = {"if-match", "if-modified-since", "if-unmodified-since", "if-range", "range"}
UNSETTABLE = NOT_CACHED | {"host"}
"""Headers of a response that policies may not set, or that the gateway sets itself."""
FOR_ALL = {"public", "s-maxage", "must-revalidate"}
"""Directives that allow responses to authenticated clients to be cached (RFC 9111, 3.5)."""
FAILURES = {500, 502, 503, 504}
"""Statuses that a stale response may replace (RFC 5861, 4)."""
HEADERS_OF_304 = ("cache-control", "content-location", "date", "etag", "expires", "vary")

MIN_TOKEN = 16
"""The least number of characters of a token. The schema cannot check the length of a named secret."""

LOOKUPS = Counter("cache_lookups_total", "Requests that the cache could answer.", labels=["result"])


def prepare(params: dict[str, Any], metadata: PolicyMetadata) -> Cache:
    """ValueError: a purge would not reach all processes, or its token is too short."""
    if "purge" in params:
        if params["where"] != "store":
            raise ValueError(
                "purge: expected `where: store`, since otherwise a purge would reach only one of several processes"
            )
        if len(params["purge"]["token"].reveal()) < MIN_TOKEN:
            raise ValueError(f"purge.token: expected {MIN_TOKEN} characters and more, got fewer")
    if params["where"] == "process":
        return ProcessCache(params["maxBytes"])
    settings = {name: value for name, value in params.items() if name != "purge"}  # its token may change
    owner = json.dumps([metadata.operation, settings], sort_keys=True)  # equal attachments share a cache
    longest = params["maxLifetimeSeconds"] + max(params["staleWhileRevalidateSeconds"], params["staleIfErrorSeconds"])
    return StoreCache(hashlib.sha256(owner.encode()).hexdigest()[:32], longest)


async def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    key = key_of(ctx, ctx.raw_path, ctx.query)
    ctx.metadata.pop(NOTE, None)  # other policies must not set it
    if "purge" in params and params["purge"]["header"] in ctx.headers:
        return await purge(ctx, key, params["purge"])
    if ctx.method not in SAFE:
        ctx.metadata[NOTE] = {"forget": key}
        return None
    request_control = directives(ctx.headers.get_all("cache-control")) if params["clientDirectives"] == "honour" else {}
    if reason := bypass_reason(ctx):
        return pass_on(ctx, reason, request_control, params)
    return await look_up(ctx, key, request_control, params)


async def look_up(
    ctx: RequestContext, key: str, request_control: Mapping[str, str], params: Mapping[str, Any]
) -> RequestAction:
    values, result = values_of(ctx.headers, params["vary"]), "miss"
    answer: Answer | None = await ctx.prepared.get(key, values)
    if answer is not None and (answer.for_all or not is_authenticated(ctx)):
        result = await lookup_result(answer, request_control, ctx.prepared)
    LOOKUPS.inc(result=result)
    if answer is not None and result in {"hit", "stale"}:
        return cached_response(ctx, answer, params)
    if "only-if-cached" in request_control or "no-store" in request_control:
        return pass_on(ctx, "request", request_control, params)
    note = {
        "key": key,
        "values": values,
        "known": is_authenticated(ctx),
        "takes_stale": accepts_stale(request_control),
    }
    ctx.metadata[NOTE] = note | {"why": "stale" if result == "revalidate" else "uri-miss"}
    return None


async def lookup_result(answer: Answer, request_control: Mapping[str, str], cache: Cache) -> str:
    """hit: the answer is fresh. stale: another request revalidates it. revalidate: this request does. miss: neither."""
    if is_fresh_enough(answer, request_control):
        return "hit"
    if not (-answer.grace < answer.left <= 0 and accepts_stale(request_control)):
        return "miss"
    return "revalidate" if "only-if-cached" not in request_control and await cache.claim(answer) else "stale"


async def on_response(ctx: ResponseContext, params: dict[str, Any]) -> ResponseAction:
    note, cache = ctx.metadata.get(NOTE), ctx.request.prepared
    if not isinstance(note, dict):
        return None
    if "forget" in note:
        await invalidate(cache, ctx, note["forget"])
        return None
    if "key" in note and ctx.status_code in FAILURES and (stale := await stale_response(ctx, note, params)):
        return stale
    refusal = await store(cache, ctx, note, params) if "key" in note else ""
    stored = "key" in note and not refusal
    if note["why"] == "stale" and not stored and ctx.status_code < 500 and ctx.status_code != 304:
        await cache.forget(note["key"])  # the upstream now has another response, which must not be cached
    if not params["cacheStatus"]:
        return None
    outcome = "; stored" if stored else f"; detail={refusal}" if refusal else ""
    return UpstreamResponseModifications(append_headers={"cache-status": f"gatewright; fwd={note['why']}{outcome}"})


# ---------------------------------------------------------------- requests


def key_of(ctx: RequestContext, path: str, query: str) -> str:
    """The cache key of a GET of this path."""
    parts = json.dumps([ctx.scheme, ctx.authority.lower(), path, query, ctx.upstream])
    return hashlib.sha256(parts.encode()).hexdigest()


def values_of(headers: Headers, names: list[str]) -> dict[str, str]:
    """A digest of each of these headers that the request has, of a fixed length whatever the client has sent."""
    return {
        name.lower(): hashlib.sha256(ascii(headers.get_all(name)).encode()).hexdigest()[:32]
        for name in names
        if name in headers
    }


def bypass_reason(ctx: RequestContext) -> str:
    """Returns why a request bypasses the cache, in the terms of Cache-Status; "" if it does not."""
    if ctx.method != "GET":
        return "method"
    names = {name.lower().replace("_", "-") for name in ctx.headers}  # upstreams may take _ for -
    announces_body = names & {"transfer-encoding", "content-type"} or ctx.headers.get("content-length", "0") != "0"
    return "bypass" if ctx.has_body or announces_body or names & OVERRIDES or names & CONDITIONS else ""


def is_authenticated(ctx: RequestContext) -> bool:
    """Whether the client is authenticated, so that an answer may be for it alone (RFC 9111, 3.5)."""
    has_credentials = "authorization" in ctx.headers or "cookie" in ctx.headers
    return has_credentials or ctx.identity is not None or ctx.peer is not None


def is_fresh_enough(answer: Answer, request_control: Mapping[str, str]) -> bool:
    """Whether the answer satisfies the client (RFC 9111, 5.2.1). An invalid directive counts as no-cache."""
    if "no-cache" in request_control or CONTRADICTION in request_control:
        return False
    oldest, least = seconds(request_control.get("max-age")), seconds(request_control.get("min-fresh"))
    if ("max-age" in request_control and oldest is None) or ("min-fresh" in request_control and least is None):
        return False
    return (oldest is None or answer.age <= oldest) and answer.left >= (least or 0) and answer.left > 0


def accepts_stale(request_control: Mapping[str, str]) -> bool:
    """Whether a client accepts a stale answer: not if it limits the age (RFC 9111, 5.2.1.1)."""
    return not request_control.keys() & {"no-cache", "no-store", "max-age", "min-fresh", CONTRADICTION}


def pass_on(
    ctx: RequestContext, reason: str, request_control: Mapping[str, str], params: Mapping[str, Any]
) -> RequestAction:
    """Passes on a request whose answer is not cached."""
    if "only-if-cached" in request_control:
        return not_cached(params)
    ctx.metadata[NOTE] = {"why": reason}
    return None


async def purge(ctx: RequestContext, key: str, settings: Mapping[str, Any]) -> ImmediateResponse:
    lines = ctx.headers.get_all(settings["header"])
    if len(lines) != 1 or not settings["token"].matches(lines[0]):
        return problem(403, "expected the purge token")
    if not await ctx.prepared.forget(key):
        return problem(503, "the store does not answer; the response may remain cached")
    return ImmediateResponse(204)


def not_cached(params: Mapping[str, Any]) -> ImmediateResponse:
    """Returns the answer to only-if-cached without a cached response (RFC 9111, 5.2.1.7)."""
    return problem(504, "no fresh response is cached", headers=status_header("miss", params))


def status_header(status: str, params: Mapping[str, Any]) -> dict[str, str]:
    return {"cache-status": f"gatewright; {status}"} if params["cacheStatus"] else {}


def cached_response(ctx: RequestContext, answer: Answer, params: Mapping[str, Any]) -> ImmediateResponse:
    more = {"age": str(answer.age), **status_header(f"hit; ttl={int(answer.left)}", params)}
    if matches(ctx.headers.get_all("if-none-match"), answer):
        headers = {name: answer.headers[name] for name in HEADERS_OF_304 if name in answer.headers}
        return ImmediateResponse(304, {**headers, **more})
    return ImmediateResponse(answer.status, {**answer.headers, **more}, answer.body)


def matches(lines: list[str], answer: Answer) -> bool:
    """Whether If-None-Match names the answer's ETag, by weak comparison (RFC 9110, 13.1.2)."""
    tags = answer.headers.get("etag", [])
    if not lines or answer.status != 200 or len(tags) != 1:
        return False
    requested = [tag.strip().removeprefix("W/") for line in lines for tag in line.split(",")]
    return "*" in requested or tags[0].removeprefix("W/") in requested


# ---------------------------------------------------------------- responses


async def invalidate(cache: Cache, ctx: ResponseContext, key: str) -> None:
    """Removes the answers of the resources that a request with an unsafe method has changed, if it has succeeded."""
    if 200 <= ctx.status_code < 400:
        for changed in {key, *other_keys(ctx)}:
            await cache.forget(changed)


async def store(cache: Cache, ctx: ResponseContext, note: Mapping[str, Any], params: Mapping[str, Any]) -> str:
    """Caches the response if other requests may get it. Returns "", or the reason in a word (RFC 9211, 2.8)."""
    request, names = ctx.request, vary_names(ctx.headers, params["vary"])
    control = directives(ctx.headers.get_all("cache-control"))
    if reason := uncacheable_reason(ctx, control):
        return reason
    if names is None:
        return "vary"
    lifetime, for_all = lifetime_of(ctx, control, params), bool(control.keys() & FOR_ALL)
    if lifetime <= 0:
        return "lifetime"
    if (note["known"] or is_authenticated(request)) and not for_all:
        return "known-client"
    values = values_of(request.headers, list(names))  # after the changes of later policies
    is_changed = request.method != "GET" or key_of(request, request.raw_path, request.query) != note["key"]
    if is_changed or any(values.get(name) != note["values"].get(name) for name in names):
        return "request-changed"
    age = age_of(ctx.headers)
    if age is None or age >= lifetime:
        return "age"
    connection_headers = {
        name.strip().lower() for line in ctx.headers.get_all("connection") for name in line.split(",")
    }
    headers = {
        name: ctx.headers.get_all(name) for name in settable_names(ctx.headers) if name not in connection_headers
    }
    born = clock.monotonic() - age
    stale = stale_windows(ctx.headers, params)
    answer = Answer(ctx.status_code, headers, ctx.body or b"", born, born + lifetime, for_all, *stale)
    return await cache.put(note["key"], names, values, answer)


def settable_names(headers: Headers) -> list[str]:
    return [name for name in headers if name not in UNSETTABLE and not name.startswith("x-gatewright-")]


async def stale_response(ctx: ResponseContext, note: Mapping[str, Any], params: Mapping[str, Any]) -> ResponseAction:
    """Returns a stale response if the upstream failed and stale-if-error allows it (RFC 5861, 4); else None."""
    if not note["takes_stale"] or not params["staleIfErrorSeconds"]:
        return None
    answer = await ctx.request.prepared.get(note["key"], note["values"])
    is_known_now = note["known"] or is_authenticated(ctx.request)
    if answer is None or answer.left <= -answer.on_error or (is_known_now and not answer.for_all):
        return None
    LOOKUPS.inc(result="stale")
    status = f"fwd=stale; fwd-status={ctx.status_code}; detail=stale-if-error"
    headers = {**answer.headers, "age": str(answer.age), **status_header(status, params)}
    return UpstreamResponseModifications(
        remove_headers=settable_names(ctx.headers), set_headers=headers, body=answer.body, status_code=answer.status
    )


def stale_windows(headers: Headers, params: Mapping[str, Any]) -> tuple[float, float]:
    """Returns the seconds in which a stale response may be used during revalidation, and if the upstream fails."""
    control = directives(headers.get_all("cache-control"))
    if control.keys() & {"must-revalidate", "proxy-revalidate", "s-maxage"}:  # RFC 9111, 4.2.4
        return 0.0, 0.0

    def window(name: str, most: int) -> float:
        return float(min(seconds(control[name]) or 0, most) if name in control else most)

    return (
        window("stale-while-revalidate", params["staleWhileRevalidateSeconds"]),
        window("stale-if-error", params["staleIfErrorSeconds"]),
    )


def vary_names(headers: Headers, allowed: list[str]) -> Names | None:
    """Returns the sorted names of Vary; None if the response must not be used for other requests."""
    names = {name.strip().lower() for line in headers.get_all("vary") for name in line.split(",")} - {""}
    if names - {name.lower() for name in allowed}:
        return None
    if "content-encoding" in headers and "accept-encoding" not in names:
        return None
    return tuple(sorted(names))


def uncacheable_reason(ctx: ResponseContext, control: Mapping[str, str]) -> str:
    """Returns what prevents caching, a directive, a header or the status; "" if nothing does."""
    if ctx.status_code not in CACHEABLE_STATUSES:
        return "status"
    if CONTRADICTION in control:
        return "contradiction"
    words = [word for word in ("no-store", "no-cache", "private") if word in control]
    words += [word for word in ("set-cookie", "content-range") if word in ctx.headers]
    return words[0] if words else ""


def lifetime_of(ctx: ResponseContext, control: Mapping[str, str], params: Mapping[str, Any]) -> int:
    """The freshness lifetime of the response in seconds, by its Cache-Control, its Expires or the parameters."""
    most: int = params["maxLifetimeSeconds"]
    for name in ("s-maxage", "max-age"):
        if name in control:
            return min(seconds(control[name]) or 0, most)
    if "expires" in ctx.headers:
        expires, date = moment(ctx.headers.get_all("expires")), moment(ctx.headers.get_all("date"))
        lifetime = int(expires - (clock.now() if date is None else date)) if expires is not None else 0
    else:
        lifetime = params["lifetimes"].get(str(ctx.status_code), 0)
    return min(lifetime, most)


def age_of(headers: Headers) -> int | None:
    """The age of a response when it comes (RFC 9111, 4.2.3); None if its Age is no number."""
    lines = headers.get_all("age")
    age = seconds(lines[0]) if len(lines) == 1 else None
    if lines and age is None:
        return None
    date = moment(headers.get_all("date"))
    apparent = max(0, int(clock.now() - date)) if date is not None else 0
    return max(apparent, age or 0)


def other_keys(ctx: ResponseContext) -> list[str]:
    """The keys of the URLs in Location and Content-Location, if they are of the same origin (RFC 9111, 4.4)."""
    request = ctx.request
    base = f"{request.scheme}://{request.authority}{request.raw_path}"
    keys = []
    for name in ("location", "content-location"):
        for line in ctx.headers.get_all(name):
            try:
                target = urlsplit(urljoin(base, line))
            except ValueError:
                continue
            if (target.scheme, target.netloc.lower()) == (request.scheme, request.authority.lower()):
                keys.append(key_of(request, target.path, target.query))
    return keys
