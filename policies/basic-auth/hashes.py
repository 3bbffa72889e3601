"""Hashes of passwords: argon2id (RFC 9106) and bcrypt, checked when they are read and never shown."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

import argon2
import bcrypt
from sdk.policy import JsonValue
from sdk.secrets import Secret

BCRYPT = re.compile(r"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}")
BCRYPT_ROUNDS = range(10, 14)
"""From what is thought safe to what is done well within an attachment's timeout."""
BCRYPT_BYTES = 72
"""Of a password: bcrypt sees no more."""
ARGON2_KIB = range(7 * 1024, 256 * 1024 + 1)
ARGON2_PASSES = range(1, 11)
CURE = "make one by `htpasswd -nB USER`, or by argon2-cffi's PasswordHasher"
HASHER = argon2.PasswordHasher()


@dataclass(frozen=True, slots=True)
class User:
    """Who may be let in."""

    name: str
    password_hash: Secret
    scopes: tuple[str, ...] = ()


def verify(password_hash: Secret, password: str) -> bool:
    """Whether it is the hash of this password. Takes tens of milliseconds, and the GIL for none of them."""
    known, given = password_hash.reveal(), password.encode()
    if known.startswith("$2"):
        right = bcrypt.checkpw(given[:BCRYPT_BYTES], known.encode())
        return right and len(given) <= BCRYPT_BYTES
    try:
        return HASHER.verify(known, given)
    except argon2.exceptions.VerificationError:
        return False


def users_of(params: dict[str, JsonValue]) -> dict[str, User]:
    """All users by their names. Raises ValueError with all that is wrong, and quotes no hash."""
    found: dict[str, User] = {}
    mistakes: list[str] = []
    for where, user in _listed(params, mistakes):
        if mistake := _mistake(user, found):
            mistakes.append(f"{where}: {mistake}")
        found[user.name] = user
    if not found and not mistakes:
        mistakes.append("htpasswd: expected a user, got none")
    if mistakes:
        raise ValueError("\n".join(mistakes))
    return found


def _listed(params: dict[str, JsonValue], mistakes: list[str]) -> Iterator[tuple[str, User]]:
    users, htpasswd = params.get("users", []), params.get("htpasswd")
    assert isinstance(users, list)
    for number, one in enumerate(users):
        assert isinstance(one, dict)
        yield f"users[{number}]", User(normal(one["username"]), one["passwordHash"], tuple(one.get("scopes", ())))
    for number, line in enumerate(htpasswd.reveal().splitlines() if isinstance(htpasswd, Secret) else [], 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, password_hash = line.strip().partition(":")
        if not colon or not name:
            mistakes.append(f"htpasswd: line {number}: expected USER:HASH, got something else; {CURE}")
            continue
        yield f"htpasswd: line {number}", User(normal(name), Secret(password_hash))


def _mistake(user: User, known: dict[str, User]) -> str:
    if user.name in known:
        return f"expected each user once, got {user.name} twice"
    text = user.password_hash.reveal()
    if match := BCRYPT.fullmatch(text):
        rounds = int(match[1])
        return "" if rounds in BCRYPT_ROUNDS else f"expected bcrypt of cost 10 to 13, got {rounds}; {CURE}"
    try:
        found = argon2.extract_parameters(text)
    except (argon2.exceptions.InvalidHashError, ValueError):
        return f"expected a hash, $argon2id$… or $2y$…, got something else; {CURE}"
    if found.type is not argon2.Type.ID:
        return f"expected argon2id, got another kind of argon2; {CURE}"
    if found.memory_cost not in ARGON2_KIB or found.time_cost not in ARGON2_PASSES or found.parallelism > 8:
        return f"expected argon2id with 7 to 256 MiB, 1 to 10 passes and up to 8 lanes, got {found.memory_cost} KiB, " \
               f"{found.time_cost} and {found.parallelism}; {CURE}"  # fmt: skip
    return ""


def normal(text: str) -> str:
    """As names and passwords are compared (RFC 7617, 2.1; RFC 8265): in the form C of Unicode."""
    return unicodedata.normalize("NFC", text)
