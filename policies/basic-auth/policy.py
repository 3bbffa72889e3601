"""Lets a request pass if its user and password are valid (RFC 7617).

Hashes of passwords cost tens of milliseconds by design. Valid credentials are cached for `cacheSeconds`, only as a
keyed digest. A limited number of threads computes hashes; requests with the same credentials share one computation. For
an unknown user the hash of another user, chosen by the name, is computed and ignored, so that the time of an answer
does not show whether the user exists.

The policy does not count failed attempts, so put a policy before it that does. All refusals have the same answer.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import os
import re
import unicodedata
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import argon2
import bcrypt
from sdk import clock
from sdk.policy import Identity, ImmediateResponse, RequestAction, RequestContext, UpstreamRequestModifications
from sdk.secrets import Secret

MAX_CACHED = 10_000
MAX_WAITING = 64
MAX_CREDENTIALS = 4096
"""The most characters of the header's value."""
PRINTABLE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
BCRYPT = re.compile(r"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}")
BCRYPT_ROUNDS = range(10, 14)
"""Costs from the least that is considered safe to one that fits well into an attachment's timeout."""
BCRYPT_BYTES = 72
"""Bytes of a password that bcrypt uses."""
ARGON2_KIB = range(7 * 1024, 256 * 1024 + 1)
ARGON2_PASSES = range(1, 11)
CURE = "create one with `htpasswd -nBC 10 USER` or argon2-cffi's PasswordHasher"
HASHER = argon2.PasswordHasher()


class Overloaded(Exception):  # noqa: N818 - a state, not an error
    """Too many requests wait for a hash."""


class Verifier:
    """Verifies the users of one instance. It runs in one event loop, except for the hashes."""

    def __init__(self, users: dict[str, User], cache_seconds: float, at_once: int) -> None:
        self._users, self._names = users, list(users)
        self._cache_seconds = cache_seconds
        self._slots = asyncio.Semaphore(at_once)
        self._waiting = 0
        self._key = os.urandom(32)
        self._valid_until: OrderedDict[bytes, float] = OrderedDict()  # by the digest of valid credentials
        self._pending_checks: dict[bytes, asyncio.Task[bool]] = {}

    async def check(self, name: str, password: str) -> User | None:
        """Returns the user if the password is right, else None. Raises Overloaded."""
        digest = self._digest(name, password)
        if self._valid_until.get(digest, 0.0) > clock.monotonic():
            return self._users[name]
        task = self._pending_checks.get(digest)
        if task is None:
            task = self._pending_checks[digest] = asyncio.create_task(self._hash(name, password))
            task.add_done_callback(lambda done: self._record(digest, done))
        is_right = await asyncio.shield(task)  # other requests may wait for it when this one is cancelled
        return self._users[name] if is_right else None

    async def _hash(self, name: str, password: str) -> bool:
        user = self._users.get(name)
        hashed = user or self._users[self._names[int.from_bytes(self._digest(name)[:8]) % len(self._names)]]
        if self._waiting >= MAX_WAITING:
            raise Overloaded
        self._waiting += 1
        try:
            async with self._slots:
                is_right = await asyncio.to_thread(verify, hashed.password_hash, password)
        finally:
            self._waiting -= 1
        return is_right and user is not None

    def _record(self, digest: bytes, task: asyncio.Task[bool]) -> None:
        del self._pending_checks[digest]
        if not task.cancelled() and task.exception() is None and task.result() and self._cache_seconds:
            self._valid_until[digest] = clock.monotonic() + self._cache_seconds
            self._valid_until.move_to_end(digest)
            if len(self._valid_until) > MAX_CACHED:
                self._valid_until.popitem(last=False)

    def _digest(self, *texts: str) -> bytes:
        return hmac.digest(self._key, "\0".join(texts).encode(), hashlib.sha256)


async def prepare(params: dict[str, Any]) -> Verifier:
    return Verifier(users_of(params), params["cacheSeconds"], params["hashesAtOnce"])


async def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    name_and_password = credentials(ctx)
    try:
        user = await ctx.prepared.check(*name_and_password) if name_and_password else None
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
    """User and password; None if there are none, or they are ambiguous."""
    lines = ctx.headers.get_all("authorization")
    # Several lines are refused, since the upstream might use another one.
    scheme, _, value = lines[0].partition(" ") if len(lines) == 1 else ("", "", "")
    if scheme.lower() != "basic" or len(value) > MAX_CREDENTIALS:
        return None
    try:
        text = base64.b64decode(value.strip(" "), validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    name, colon, password = text.partition(":")
    if not colon or any(character < " " or character == "\x7f" for character in text):  # RFC 7617, 2
        return None
    return normalize(name), normalize(password)


def problem(status: int, title: str, headers: dict[str, str]) -> ImmediateResponse:
    body = f'{{"type":"about:blank","title":"{title}","status":{status}}}'
    return ImmediateResponse(
        status, {"content-type": "application/problem+json", "cache-control": "no-store", **headers}, body
    )


# ------------------------------------------------------------------ hashes


@dataclass(frozen=True, slots=True)
class User:
    """A user in the parameters."""

    name: str
    password_hash: Secret
    scopes: tuple[str, ...] = ()


def verify(password_hash: Secret, password: str) -> bool:
    """Whether the hash is that of the password. Takes tens of milliseconds, without holding the GIL."""
    hashed, plain = password_hash.reveal(), password.encode()
    if hashed.startswith("$2"):
        is_right = bcrypt.checkpw(plain[:BCRYPT_BYTES], hashed.encode())
        return is_right and len(plain) <= BCRYPT_BYTES
    try:
        return HASHER.verify(hashed, plain)
    except argon2.exceptions.VerificationError:
        return False


def users_of(params: dict[str, Any]) -> dict[str, User]:
    """Returns all users by their names. ValueError: all mistakes in the parameters; it quotes no hash."""
    known: dict[str, User] = {}
    mistakes: list[str] = []
    for where, user in _read_users(params, mistakes):
        if mistake := _find_mistake(user, known):
            mistakes.append(f"{where}: {mistake}")
        known[user.name] = user
    if not known and not mistakes:
        mistakes.append("htpasswd: expected a user, got none")
    if mistakes:
        raise ValueError("\n".join(mistakes))
    return known


def _read_users(params: dict[str, Any], mistakes: list[str]) -> Iterator[tuple[str, User]]:
    users, htpasswd = params.get("users", []), params.get("htpasswd")
    for number, entry in enumerate(users):
        scopes = tuple(entry.get("scopes", ()))
        yield f"users[{number}]", User(normalize(entry["username"]), entry["passwordHash"], scopes)
    for number, line in enumerate(htpasswd.reveal().splitlines() if isinstance(htpasswd, Secret) else [], 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, password_hash = line.strip().partition(":")
        if not colon or not name:
            mistakes.append(f"htpasswd: line {number}: expected USER:HASH, got something else; {CURE}")
            continue
        yield f"htpasswd: line {number}", User(normalize(name), Secret(password_hash))


def _find_mistake(user: User, known: dict[str, User]) -> str:
    if user.name in known:
        return f"expected each user once, got {user.name} twice"
    text = user.password_hash.reveal()
    if match := BCRYPT.fullmatch(text):
        rounds = int(match[1])
        return "" if rounds in BCRYPT_ROUNDS else f"expected bcrypt of cost 10 to 13, got {rounds}; {CURE}"
    try:
        cost = argon2.extract_parameters(text)
    except (argon2.exceptions.InvalidHashError, ValueError):
        return f"expected a hash, $argon2id$… or $2y$…, got something else; {CURE}"
    if cost.type is not argon2.Type.ID:
        return f"expected argon2id, got another kind of argon2; {CURE}"
    if cost.memory_cost not in ARGON2_KIB or cost.time_cost not in ARGON2_PASSES or cost.parallelism > 8:
        return f"expected argon2id with 7 to 256 MiB, 1 to 10 passes and up to 8 lanes, got {cost.memory_cost} KiB, " \
               f"{cost.time_cost} and {cost.parallelism}; {CURE}"  # fmt: skip
    return ""


def normalize(text: str) -> str:
    """The form in which names and passwords are compared (RFC 7617, 2.1; RFC 8265): Unicode's NFC."""
    return unicodedata.normalize("NFC", text)
