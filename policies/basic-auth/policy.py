"""Lets a request pass whose user and password are known (RFC 7617).

Hashes of passwords cost tens of milliseconds by design. What was right is kept for `cacheSeconds`, as a keyed digest of
the credentials and nothing else; hashes are computed in threads, so many at a time; who asks for the same one meanwhile
waits for it. A user who is unknown pays for the hash of another one, chosen by the name, whose result is thrown away:
what an answer costs does not tell whether there is such a user.

It does not count tries: put something in front that does. Whatever is wrong with credentials, the answer is the same.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import os
from collections import OrderedDict
from typing import Any
from urllib.parse import quote

from sdk.policy import Identity, ImmediateResponse, RequestAction, RequestContext, UpstreamRequestModifications

from sdk import clock

from .hashes import User, normal, users_of, verify

MAX_CACHED = 10_000
MAX_WAITING = 64
MAX_CREDENTIALS = 4096
"""Characters of the header's value."""
PRINTABLE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")


class Overloaded(Exception):  # noqa: N818 - it says what is the matter
    """More wait for a hash than will be waited for."""


class Verifier:
    """Knows the users of one instance. All of it runs in one event loop, but for the hashes."""

    def __init__(self, users: dict[str, User], cache_seconds: float, at_once: int) -> None:
        self._users, self._names = users, list(users)
        self._cache_seconds = cache_seconds
        self._slots = asyncio.Semaphore(at_once)
        self._waiting = 0
        self._key = os.urandom(32)
        self._right: OrderedDict[bytes, float] = OrderedDict()  # digest of credentials: until when they are believed
        self._under_way: dict[bytes, asyncio.Task[bool]] = {}

    async def check(self, name: str, password: str) -> User | None:
        """The user, if this is the password. Raises Overloaded."""
        digest = self._digest(name, password)
        if self._right.get(digest, 0.0) > clock.monotonic():
            return self._users[name]
        task = self._under_way.get(digest)
        if task is None:
            task = self._under_way[digest] = asyncio.create_task(self._hash(name, password))
            task.add_done_callback(lambda done: self._ended(digest, done))
        right = await asyncio.shield(task)  # others may wait for it when this request's client has gone
        return self._users[name] if right else None

    async def _hash(self, name: str, password: str) -> bool:
        user = self._users.get(name)
        known = user or self._users[self._names[int.from_bytes(self._digest(name)[:8]) % len(self._names)]]
        if self._waiting >= MAX_WAITING:
            raise Overloaded
        self._waiting += 1
        try:
            async with self._slots:
                right = await asyncio.to_thread(verify, known.password_hash, password)
        finally:
            self._waiting -= 1
        return right and user is not None

    def _ended(self, digest: bytes, task: asyncio.Task[bool]) -> None:
        del self._under_way[digest]
        if not task.cancelled() and task.exception() is None and task.result() and self._cache_seconds:
            self._right[digest] = clock.monotonic() + self._cache_seconds
            self._right.move_to_end(digest)
            if len(self._right) > MAX_CACHED:
                self._right.popitem(last=False)

    def _digest(self, *texts: str) -> bytes:
        return hmac.digest(self._key, "\0".join(texts).encode(), hashlib.sha256)


async def prepare(params: dict[str, Any]) -> Verifier:
    return Verifier(users_of(params), params["cacheSeconds"], params["hashesAtOnce"])


async def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    given = credentials(ctx)
    try:
        user = await ctx.prepared.check(*given) if given else None
    except Overloaded:
        return problem(503, "Service Unavailable", {"retry-after": "1"})
    if user is None:
        challenge = f'Basic realm="{params["realm"]}", charset="UTF-8"'
        return problem(401, "Unauthorized", {"www-authenticate": challenge})
    ctx.identity = Identity(user.name, scopes=user.scopes, method="basic")
    changes = UpstreamRequestModifications(remove_headers=[] if params["forward"] else ["authorization"])
    if params["userHeader"]:
        changes.set_headers = {params["userHeader"]: quote(user.name, safe=PRINTABLE)}
    return changes


def credentials(ctx: RequestContext) -> tuple[str, str] | None:
    """User and password; None where there are none, or what they are is not certain."""
    lines = ctx.headers.get_all("authorization")
    scheme, _, value = lines[0].partition(" ") if len(lines) == 1 else ("", "", "")  # upstream would see the others too
    if scheme.lower() != "basic" or len(value) > MAX_CREDENTIALS:
        return None
    try:
        text = base64.b64decode(value.strip(" "), validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    name, colon, password = text.partition(":")
    if not colon or any(character < " " or character == "\x7f" for character in text):  # RFC 7617, 2
        return None
    return normal(name), normal(password)


def problem(status: int, title: str, headers: dict[str, str]) -> ImmediateResponse:
    body = f'{{"type":"about:blank","title":"{title}","status":{status}}}'
    return ImmediateResponse(
        status, {"content-type": "application/problem+json", "cache-control": "no-store", **headers}, body
    )
