"""Consumers' credentials as secrets and parameters of policies, and consumers and groups as conditions on an identity.

A key is kept as its SHA-256, a password as its bcrypt hash, both in files; the API files have names of these.
ACL groups are scopes `acl:NAME` of keys and passwords, consumer groups `group:NAME`. A token's own scopes are its
client's words, so for tokens a group is a list of issuers.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from gatewright_documents.values import JsonObject

from gatewright_cli.kong.deck import Consumer, Deck
from gatewright_cli.kong.expressions import cel_list, cel_text
from gatewright_cli.kong.source import Fields

KEYS = "kong-keys"
LARGEST_LIST = 60_000
"""Bytes of a list of keys; a secret has 64 KiB."""
BCRYPT_BYTES, BCRYPT_ROUNDS = 72, 10
SHORTEST_KEY = 22
REFERENCE = re.compile(r"\{vault://.*\}")
OWNER = re.compile(r"[ -~]{1,256}")
USERNAME = re.compile(r"[^:\x00-\x1f\x7f]{1,256}")
SCOPE = re.compile(r"[!#-\[\]-~]{1,128}")
NEW_CREDENTIALS = "give the consumer a new one, by hand"
INSTALL = "pip install 'gatewright[kong]', and import again"
EXTERNAL = {
    "hmacauth_credentials": ("Kong's signature scheme has no counterpart", "see hmac-auth for signatures over bodies"),
    "oauth2_credentials": ("the gateway issues no tokens", "use an authorization server, with jwt-auth"),
    "mtls_auth_credentials": ("mtls-auth has rules for certificates", "write a rule for the subject"),
}  # fmt: skip


@dataclass
class Credentials:
    """What consumers identify themselves with. secrets: contents of files by name. key_lists: names of those with keys.
    users, issuers: parameters of basic-auth and jwt-auth. by_consumer: conditions by which a consumer is known.
    """

    secrets: dict[str, str] = field(default_factory=dict)
    key_lists: list[str] = field(default_factory=list)
    users: list[JsonObject] = field(default_factory=list)
    issuers: list[JsonObject] = field(default_factory=list)
    keyed: set[str] = field(default_factory=set)
    usernames: dict[str, list[str]] = field(default_factory=dict)
    issuer_names: dict[str, list[str]] = field(default_factory=dict)

    def is_consumer(self, name: str) -> str:
        """The condition that the identity is this consumer's; "" if it has no credential."""
        parts = []
        if name in self.keyed:
            parts.append(f'metadata.identity.method == "api-key" && metadata.identity.subject == {cel_text(name)}')
        if usernames := self.usernames.get(name):
            parts.append(f'metadata.identity.method == "basic" && metadata.identity.subject in {cel_list(usernames)}')
        if issuers := self.issuer_names.get(name):
            parts.append(f'metadata.identity.method == "jwt" && metadata.identity.issuer in {cel_list(issuers)}')
        return f"metadata.identity != null && ({' || '.join(f'({part})' for part in parts)})" if parts else ""

    def has_scope(self, scopes: Iterable[str], consumers: Iterable[Consumer]) -> str:
        """The condition that the identity's consumer is one of these, each of which has one of the scopes."""
        issuers = [issuer for consumer in consumers for issuer in self.issuer_names.get(consumer.name, ())]
        texts = " || ".join(f"{cel_text(scope)} in metadata.identity.scopes" for scope in scopes)
        parts = [f'(metadata.identity.method in ["api-key", "basic"] && has(metadata.identity.scopes) && ({texts}))']
        if issuers:
            parts.append(f'(metadata.identity.method == "jwt" && metadata.identity.issuer in {cel_list(issuers)})')
        return f"metadata.identity != null && ({' || '.join(parts)})"


def read_credentials(deck: Deck) -> Credentials:
    """The credentials of all consumers. Reports those that no policy takes."""
    credentials = Credentials()
    keys: list[JsonObject] = []
    for consumer in deck.consumers:
        scopes = [*(f"acl:{name}" for name in consumer.acls), *(f"group:{name}" for name in consumer.groups)]
        fitting = [scope for scope in scopes if SCOPE.fullmatch(scope)]
        for scope in set(scopes) - set(fitting):
            cure = "rename the group in letters, digits and hyphens"
            deck.report.left_out(consumer.fields.path, f"its group {scope.partition(':')[2]!r} cannot be a scope", cure)
        keys += _keys(deck, consumer, fitting, credentials)
        _add_users(deck, consumer, fitting, credentials)
        _add_issuers(deck, consumer, credentials)
        for key, (reason, cure) in EXTERNAL.items():
            for item in consumer.fields.items(key):
                deck.report.left_out(item.path, reason, cure)
    _write_key_lists(keys, credentials)
    return credentials


def _keys(deck: Deck, consumer: Consumer, scopes: list[str], credentials: Credentials) -> Iterator[JsonObject]:
    for item in consumer.fields.items("keyauth_credentials"):
        key = item.text("key")
        _see_tags(item)
        if not OWNER.fullmatch(consumer.name):
            deck.report.left_out(item.path, "the consumer's name is not of printable ASCII characters", "rename it")
            continue
        if _is_reference(deck, item, "key", f"a line of secrets/{KEYS}"):
            continue
        if len(key) < SHORTEST_KEY:
            cure = "give the consumer a random key of 128 bits or more"
            deck.report.changed(
                item.where("key"), "only its SHA-256 is kept, from which a short key can be guessed", cure
            )
        expires = _expiry(deck, item)
        if expires is None:
            continue
        credentials.keyed.add(consumer.name)
        hashed = f"sha256:{hashlib.sha256(key.encode(errors='surrogatepass')).hexdigest()}"
        entry: JsonObject = {"hash": hashed, "owner": consumer.name}
        yield {**entry, **({"scopes": scopes} if scopes else {}), **({"expires": expires} if expires else {})}


def _expiry(deck: Deck, item: Fields) -> str | None:
    """When a key expires; "" for never, None for a time that is not known, with which it is left out."""
    ttl = item.whole("ttl")
    if not ttl:
        return ""
    if not item.has("created_at"):
        reason = "it has a time to live, and no created_at from which it runs"
        deck.report.left_out(item.path, reason, "add created_at, or remove ttl, and import again")
        return None
    try:
        end = datetime.fromtimestamp(item.whole("created_at"), UTC) + timedelta(seconds=ttl)
    except (OverflowError, ValueError, OSError):
        deck.report.left_out(item.path, "its time to live cannot be read", "correct created_at and ttl")
        return None
    return end.strftime("%Y-%m-%dT%H:%M:%SZ") if end.year >= 1000 else None


def _write_key_lists(keys: list[JsonObject], credentials: Credentials) -> None:
    """Keys in secrets of a bounded size, one on each line."""
    texts = [""]
    for key in keys:
        line = json.dumps(key) + "\n"
        if len(texts[-1]) + len(line) > LARGEST_LIST:
            texts.append("")
        texts[-1] += line
    for number, text in enumerate(texts, 1):
        name = KEYS if number == 1 else f"{KEYS}-{number}"
        credentials.key_lists.append(name)
        if text:
            credentials.secrets[name] = text


def _add_users(deck: Deck, consumer: Consumer, scopes: list[str], credentials: Credentials) -> None:
    for item in consumer.fields.items("basicauth_credentials"):
        username, password = item.text("username"), item.text("password")
        _see_tags(item)
        name = f"kong-password-{len(credentials.users) + 1}"
        if _is_reference(deck, item, "password", "a hash in passwordHash of basic-auth"):
            continue
        hash_password = _hasher()
        problem = _password_problem(deck, username, password, [user["username"] for user in credentials.users])
        if hash_password is None or problem:
            reason, cure = problem or ("passwords are kept as hashes of bcrypt, which is not installed here", INSTALL)
            deck.report.left_out(item.path, reason, cure)
            continue
        credentials.secrets[name] = hash_password(password)
        credentials.users.append(
            {"username": username, "passwordHash": {"secretRef": name}, **({"scopes": scopes} if scopes else {})}
        )
        credentials.usernames.setdefault(consumer.name, []).append(username)


def _password_problem(deck: Deck, username: str, password: str, others: list[str]) -> tuple[str, str] | None:
    info = deck.source.value.get("_info")
    is_hashed = isinstance(info, dict) and bool(info.get("skip_hash_for_basic_auth"))
    if is_hashed or deck.source.value.get("_transform") is False:
        return "its password is hashed already, in a way that no policy verifies", NEW_CREDENTIALS
    if not USERNAME.fullmatch(username) or username in others:
        return "its user name has characters that no client can send, or another user has it", NEW_CREDENTIALS
    if not password or "\0" in password or len(password.encode(errors="surrogatepass")) > BCRYPT_BYTES:
        return f"its password has more than {BCRYPT_BYTES} bytes, or none", NEW_CREDENTIALS
    return None


def _hasher() -> Callable[[str], str] | None:
    try:
        bcrypt = importlib.import_module("bcrypt")
    except ImportError:
        return None

    def hash_password(password: str) -> str:
        hashed: bytes = bcrypt.hashpw(password.encode(errors="surrogatepass"), bcrypt.gensalt(BCRYPT_ROUNDS))
        return hashed.decode() + "\n"

    return hash_password


def _add_issuers(deck: Deck, consumer: Consumer, credentials: Credentials) -> None:
    for item in consumer.fields.items("jwt_secrets"):
        issuer, algorithm = item.text("key"), item.text("algorithm", "HS256")
        _see_tags(item)
        if algorithm.startswith("HS"):
            cure = "sign with RS256 or ES256, and give the public key in rsa_public_key"
            deck.report.left_out(item.path, "shared secrets (HS256) are not supported by jwt-auth", cure)
            continue
        item.see("secret")
        key = _public_key(item.text("rsa_public_key"))
        known = [entry["issuer"] for entry in credentials.issuers]
        if key is None or not issuer or issuer in known or len(known) == 32:
            reason = "its public key cannot be read, or its issuer is another consumer's, or there are more than 32"
            deck.report.left_out(item.path, reason, f"add it to issuers of jwt-auth by hand, or: {INSTALL}")
            continue
        credentials.issuers.append(
            {"issuer": issuer, "audiences": [], "jwks": {"keys": [key]}, "algorithms": [algorithm]}
        )
        credentials.issuer_names.setdefault(consumer.name, []).append(issuer)


def _public_key(pem: str) -> JsonObject | None:
    """A JWK of an RSA key or a key on a curve; None for anything else, or without the library that reads it."""
    try:
        serialization: Any = importlib.import_module("cryptography.hazmat.primitives.serialization")
        key = serialization.load_pem_public_key(pem.encode())
        numbers = key.public_numbers()
    except (ImportError, ValueError, TypeError, AttributeError):
        return None
    except Exception as error:
        if type(error).__name__ != "UnsupportedAlgorithm":
            raise
        return None
    if hasattr(numbers, "n"):
        return {"kty": "RSA", "n": _base64url(numbers.n), "e": _base64url(numbers.e)}
    curve = {"secp256r1": ("P-256", 32), "secp384r1": ("P-384", 48), "secp521r1": ("P-521", 66)}.get(key.curve.name)
    if curve is None:
        return None
    return {"kty": "EC", "crv": curve[0], "x": _base64url(numbers.x, curve[1]), "y": _base64url(numbers.y, curve[1])}


def _base64url(number: int, length: int = 0) -> str:
    content = number.to_bytes(length or (number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _see_tags(item: Fields) -> None:
    item.see("id", "created_at", "tags", "consumer")


def _is_reference(deck: Deck, item: Fields, key: str, place: str) -> bool:
    """Whether the value is in a vault of Kong's, which is reported."""
    if not REFERENCE.fullmatch(item.text(key)):
        return False
    deck.report.left_out(item.path, "its value is in a vault of Kong", f"write it as {place}")
    return True
