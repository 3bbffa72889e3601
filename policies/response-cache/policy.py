"""Answers GET requests from what is kept while it is fresh: a shared cache, as RFC 9111 has it.

An answer is kept under scheme, authority, path, query and the upstream that was chosen, and under the headers that it
varies by. Nothing else of a request is to change what others get: requests with a body, a range, or one of the headers
that have upstreams take another host, path or method than the key has (OVERRIDES) pass, and their answers are not kept;
nor are those of requests that a policy behind this one has sent elsewhere, or changed in what the answer varies by.

Stale answers (RFC 5861): a policy cannot ask upstream by itself, so it is a client's request that goes for a new
answer, and that client waits; those that come meanwhile get the stale one. Where that request brings none, the next one
goes after REVALIDATION seconds.

Answers are in the process (caching.in_process) or in the store (caching.in_store), where an unsafe method and a purge
take them from all. An answer that was on its way from upstream meanwhile is kept all the same, old as it may be; and
what is to go while the store is away stays until its time is over: of a purge the client is told.

Left out: validation of stale answers by upstream, answers to HEAD, ranges, warnings, purges of more than one URL. Where
the RFC leaves a choice, the answer is not kept: `no-cache="x"` is `no-cache`, and directives that contradict each other
are none.

Both phases may run in different processes; what the response phase needs is in the exchange's metadata.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

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

from sdk import clock

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
UNSETTABLE = NOT_KEPT | {"host"}
"""Headers of a response that no policy may change, and those that are set anyway."""
FOR_ALL = {"public", "s-maxage", "must-revalidate"}
"""Directives that allow answers for clients that are known, too (RFC 9111, 3.5)."""
FAILURES = {500, 502, 503, 504}
"""For which a stale answer may stand in, RFC 5861, 4."""
OF_304 = ("cache-control", "content-location", "date", "etag", "expires", "vary")

LEAST_TOKEN = 16
"""Characters, which the schema does not count where a secret is named."""

LOOKUPS = Counter("cache_lookups_total", "Requests that a kept answer could be given to.", labels=["result"])


def prepare(params: dict[str, Any], metadata: PolicyMetadata) -> Cache:
    """ValueError: there is a purge that would not reach all, or a token that is too short."""
    if "purge" in params:
        if params["where"] != "store":
            raise ValueError("purge: expected `where: store`, for a purge reaches one process of many otherwise")
        if len(params["purge"]["token"].reveal()) < LEAST_TOKEN:
            raise ValueError(f"purge.token: expected {LEAST_TOKEN} characters and more, got fewer")
    if params["where"] == "process":
        return ProcessCache(params["maxBytes"])
    kept_by = {name: value for name, value in params.items() if name != "purge"}  # its token may change
    whose = json.dumps([metadata.operation, kept_by], sort_keys=True)  # the API's policies share what the store has
    longest = params["maxLifetimeSeconds"] + max(params["staleWhileRevalidateSeconds"], params["staleIfErrorSeconds"])
    return StoreCache(hashlib.sha256(whose.encode()).hexdigest()[:32], longest)


async def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    key = key_of(ctx, ctx.raw_path, ctx.query)
    ctx.metadata.pop(NOTE, None)  # nobody but this policy has a say in it
    if "purge" in params and params["purge"]["header"] in ctx.headers:
        return await purged(ctx, key, params["purge"])
    if ctx.method not in SAFE:
        ctx.metadata[NOTE] = {"forget": key}
        return None
    wishes = directives(ctx.headers.get_all("cache-control")) if params["clientDirectives"] == "honour" else {}
    if why := bypassed(ctx):
        return passed_by(ctx, why, wishes, params)
    return await looked_up(ctx, key, wishes, params)


async def looked_up(
    ctx: RequestContext, key: str, wishes: Mapping[str, str], params: Mapping[str, Any]
) -> RequestAction:
    values, result = values_of(ctx.headers, params["vary"]), "miss"
    answer: Answer | None = await ctx.prepared.get(key, values)
    if answer is not None and (answer.for_all or not is_known(ctx)):
        result = await use_of(answer, wishes, ctx.prepared)
    LOOKUPS.inc(result=result)
    if answer is not None and result in {"hit", "stale"}:
        return answered(ctx, answer, params)
    if "only-if-cached" in wishes or "no-store" in wishes:
        return passed_by(ctx, "request", wishes, params)
    note = {"key": key, "values": values, "known": is_known(ctx), "takes_stale": takes_stale(wishes)}
    ctx.metadata[NOTE] = note | {"why": "stale" if result == "revalidate" else "uri-miss"}
    return None


async def use_of(answer: Answer, wishes: Mapping[str, str], cache: Cache) -> str:
    """hit: it is given; stale: it is, while another request asks upstream; revalidate: this one does; miss."""
    if is_fresh_enough(answer, wishes):
        return "hit"
    if not (-answer.grace < answer.left <= 0 and takes_stale(wishes)):
        return "miss"
    return "revalidate" if "only-if-cached" not in wishes and await cache.claim(answer) else "stale"


async def on_response(ctx: ResponseContext, params: dict[str, Any]) -> ResponseAction:
    note, cache = ctx.metadata.get(NOTE), ctx.request.prepared
    if not isinstance(note, dict):
        return None
    if "forget" in note:
        await forget(cache, ctx, note["forget"])
        return None
    if "key" in note and ctx.status_code in FAILURES and (instead := await stand_in(ctx, note, params)):
        return instead
    unkept = await keep(cache, ctx, note, params) if "key" in note else ""
    stored = "key" in note and not unkept
    if note["why"] == "stale" and not stored and ctx.status_code < 500 and ctx.status_code != 304:
        await cache.forget(note["key"])  # upstream has another answer by now, one that is not to be kept
    if not params["cacheStatus"]:
        return None
    outcome = "; stored" if stored else f"; detail={unkept}" if unkept else ""
    return UpstreamResponseModifications(append_headers={"cache-status": f"gatewright; fwd={note['why']}{outcome}"})


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
    tells_of_one = names & {"transfer-encoding", "content-type"} or ctx.headers.get("content-length", "0") != "0"
    return "bypass" if ctx.has_body or tells_of_one or names & OVERRIDES or names & CONDITIONS else ""


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
    return (oldest is None or answer.age <= oldest) and answer.left >= (least or 0) and answer.left > 0


def takes_stale(wishes: Mapping[str, str]) -> bool:
    """Whether a client is content with a stale answer: one that asks for an age is not (RFC 9111, 5.2.1.1)."""
    return not wishes.keys() & {"no-cache", "no-store", "max-age", "min-fresh", CONTRADICTION}


def passed_by(ctx: RequestContext, why: str, wishes: Mapping[str, str], params: Mapping[str, Any]) -> RequestAction:
    """For a request whose answer is not kept."""
    if "only-if-cached" in wishes:
        return unanswered(params)
    ctx.metadata[NOTE] = {"why": why}
    return None


async def purged(ctx: RequestContext, key: str, purge: Mapping[str, Any]) -> ImmediateResponse:
    lines = ctx.headers.get_all(purge["header"])
    if len(lines) != 1 or not purge["token"].matches(lines[0]):
        return problem(403, "Forbidden", "expected the token that purges need")
    if not await ctx.prepared.forget(key):
        return problem(503, "Service Unavailable", "the store does not answer; what it keeps may still be given")
    return ImmediateResponse(204)


def problem(status: int, title: str, detail: str, headers: Mapping[str, str] | None = None) -> ImmediateResponse:
    said = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return ImmediateResponse(status, {"content-type": "application/problem+json", **(headers or {})}, json.dumps(said))


def unanswered(params: Mapping[str, Any]) -> ImmediateResponse:
    """To only-if-cached, RFC 9111, 5.2.1.7."""
    return problem(504, "Gateway Timeout", "no fresh answer is kept", status_header("miss", params))


def status_header(said: str, params: Mapping[str, Any]) -> dict[str, str]:
    return {"cache-status": f"gatewright; {said}"} if params["cacheStatus"] else {}


def answered(ctx: RequestContext, answer: Answer, params: Mapping[str, Any]) -> ImmediateResponse:
    more = {"age": str(answer.age), **status_header(f"hit; ttl={int(answer.left)}", params)}
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


async def forget(cache: Cache, ctx: ResponseContext, key: str) -> None:
    """What an unsafe method has changed, if it has."""
    if 200 <= ctx.status_code < 400:
        for each in {key, *others_of(ctx)}:
            await cache.forget(each)


async def keep(cache: Cache, ctx: ResponseContext, note: Mapping[str, Any], params: Mapping[str, Any]) -> str:
    """Keeps the answer where it may be given to others. "", or in a word why it is not (`detail`, RFC 9211, 2.8)."""
    request, names = ctx.request, varies_by(ctx.headers, params["vary"])
    said = directives(ctx.headers.get_all("cache-control"))
    if why := forbidden_by(ctx, said):
        return why
    if names is None:
        return "vary"
    lifetime, for_all = lifetime_of(ctx, said, params), bool(said.keys() & FOR_ALL)
    if lifetime <= 0:
        return "lifetime"
    if (note["known"] or is_known(request)) and not for_all:
        return "known-client"
    values = values_of(request.headers, list(names))  # as policies behind this one have left them
    is_another = request.method != "GET" or key_of(request, request.raw_path, request.query) != note["key"]
    if is_another or any(values.get(name) != note["values"].get(name) for name in names):
        return "request-changed"
    age = age_of(ctx.headers)
    if age is None or age >= lifetime:
        return "age"
    nominated = {name.strip().lower() for line in ctx.headers.get_all("connection") for name in line.split(",")}
    headers = {name: ctx.headers.get_all(name) for name in settable(ctx.headers) if name not in nominated}
    born = clock.monotonic() - age
    stale = stale_of(ctx.headers, params)
    answer = Answer(ctx.status_code, headers, ctx.body or b"", born, born + lifetime, for_all, *stale)
    return await cache.put(note["key"], names, values, answer)


def settable(headers: Headers) -> list[str]:
    return [name for name in headers if name not in UNSETTABLE and not name.startswith("x-gatewright-")]


async def stand_in(ctx: ResponseContext, note: Mapping[str, Any], params: Mapping[str, Any]) -> ResponseAction:
    """A stale answer in the place of upstream's failure, where there is one that may be given."""
    if not note["takes_stale"] or not params["staleIfErrorSeconds"]:
        return None
    answer = await ctx.request.prepared.get(note["key"], note["values"])
    is_known_now = note["known"] or is_known(ctx.request)
    if answer is None or answer.left <= -answer.on_error or (is_known_now and not answer.for_all):
        return None
    LOOKUPS.inc(result="stale")
    said = f"fwd=stale; fwd-status={ctx.status_code}; detail=stale-if-error"
    headers = {**answer.headers, "age": str(answer.age), **status_header(said, params)}
    return UpstreamResponseModifications(
        remove_headers=settable(ctx.headers), set_headers=headers, body=answer.body, status_code=answer.status
    )


def stale_of(headers: Headers, params: Mapping[str, Any]) -> tuple[float, float]:
    """For how many seconds a stale answer may be given while another is asked for, and where upstream fails."""
    said = directives(headers.get_all("cache-control"))
    if said.keys() & {"must-revalidate", "proxy-revalidate", "s-maxage"}:  # RFC 9111, 4.2.4
        return 0.0, 0.0

    def window(name: str, most: int) -> float:
        return float(min(seconds(said[name]) or 0, most) if name in said else most)

    return (
        window("stale-while-revalidate", params["staleWhileRevalidateSeconds"]),
        window("stale-if-error", params["staleIfErrorSeconds"]),
    )


def varies_by(headers: Headers, allowed: list[str]) -> Names | None:
    """The names of Vary, sorted; None where the answer may not be given to another request."""
    names = {name.strip().lower() for line in headers.get_all("vary") for name in line.split(",")} - {""}
    if names - {name.lower() for name in allowed}:
        return None
    if "content-encoding" in headers and "accept-encoding" not in names:
        return None
    return tuple(sorted(names))


def forbidden_by(ctx: ResponseContext, said: Mapping[str, str]) -> str:
    """What of the answer has it not kept: a directive, a header or its status; "" for nothing."""
    if ctx.status_code not in KEPT_STATUSES:
        return "status"
    if CONTRADICTION in said:
        return "contradiction"
    words = [word for word in ("no-store", "no-cache", "private") if word in said]
    words += [word for word in ("set-cookie", "content-range") if word in ctx.headers]
    return words[0] if words else ""


def lifetime_of(ctx: ResponseContext, said: Mapping[str, str], params: Mapping[str, Any]) -> int:
    """For how many seconds from its making the answer is fresh, by what its Cache-Control has said."""
    most: int = params["maxLifetimeSeconds"]
    for name in ("s-maxage", "max-age"):
        if name in said:
            return min(seconds(said[name]) or 0, most)
    if "expires" in ctx.headers:
        expires, date = moment(ctx.headers.get_all("expires")), moment(ctx.headers.get_all("date"))
        lifetime = int(expires - (clock.now() if date is None else date)) if expires is not None else 0
    else:
        lifetime = params["lifetimes"].get(str(ctx.status_code), 0)
    return min(lifetime, most)


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
    base = f"{request.scheme}://{request.authority}{request.raw_path}"
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
