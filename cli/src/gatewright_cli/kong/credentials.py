"""What consumers identify themselves with: keys, passwords and tokens, and conditions on who a client is.

Keys are the consumers' own. So are passwords, if all of the file are random enough and each user has the name of the
consumer; else the policy basic-auth has them as hashes of bcrypt, in secrets. Its users are no consumers of the
controller: they have the labels of their groups as scopes.
"""

from __future__ import annotations

import base64
import importlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from gatewright_documents.values import JsonObject

from gatewright_cli.kong.consumers import KEY, REFERENCE, Consumers, GroupKind, is_reference, read_consumers
from gatewright_cli.kong.deck import Consumer, Deck
from gatewright_cli.kong.expressions import cel_list, cel_text
from gatewright_cli.kong.source import Fields

BCRYPT_BYTES, BCRYPT_ROUNDS = 72, 10
MOST_ISSUERS, LONGEST_ISSUER = 32, 512
USERNAME = re.compile(r"[^:\x00-\x1f\x7f]{1,256}")
NEW_CREDENTIALS = "give the consumer a key, which is a password too where api-key-auth has basic: true"
INSTALL = "pip install 'gatewright[kong]', and import again"
EXTERNAL = {
    "hmacauth_credentials": ("Kong's signature scheme has no counterpart", "see hmac-auth for signatures over bodies"),
    "oauth2_credentials": ("the gateway issues no tokens", "use an authorization server, with jwt-auth"),
    "mtls_auth_credentials": ("a Consumer has certificates by SHA-256", "add them to spec.certificates, for mtls-auth"),
}  # fmt: skip


@dataclass
class Credentials:
    """consumers: with their keys. secrets: contents of files by name. users, issuers: parameters of basic-auth and
    jwt-auth. usernames: of such users, by consumers.
    """

    consumers: Consumers
    are_passwords_keys: bool
    secrets: dict[str, str] = field(default_factory=dict)
    users: list[JsonObject] = field(default_factory=list)
    issuers: list[JsonObject] = field(default_factory=list)
    usernames: dict[str, list[str]] = field(default_factory=dict)

    def is_consumer(self, name: str) -> str:
        """The condition that the identity is this consumer's; "" if it is left out."""
        if name not in self.consumers.names:
            return ""
        usernames = self.usernames.get(name)
        return self._identified(
            self.consumers.is_consumer(name), f"metadata.identity.subject in {cel_list(usernames)}" if usernames else ""
        )

    def in_groups(self, kind: GroupKind, groups: Iterable[str]) -> str:
        """The condition that the identity's consumer is in one of these groups."""
        groups = list(groups)
        scopes = [f"{cel_text(self.consumers.label(kind, group))} in metadata.identity.scopes" for group in groups]
        by_password = f"has(metadata.identity.scopes) && ({' || '.join(scopes)})"
        return self._identified(self.consumers.in_groups(kind, groups), by_password)

    def _identified(self, as_consumer: str, by_password: str) -> str:
        if not self.users or not by_password:
            return f"metadata.identity != null && {as_consumer}"
        by_password = f'metadata.identity.method == "basic" && {by_password}'
        return f"metadata.identity != null && (({as_consumer}) || ({by_password}))"


def read_credentials(deck: Deck) -> Credentials:
    """The credentials of all consumers. Reports those that no policy takes."""
    consumers = read_consumers(deck)
    credentials = Credentials(consumers, _are_keys(deck, consumers))
    for consumer in deck.consumers:
        if consumer.name not in consumers.names:
            continue
        _add_keys(deck, consumer, credentials)
        if credentials.are_passwords_keys:
            _add_passwords(deck, consumer, credentials)
        else:
            _add_users(deck, consumer, credentials)
        _add_issuers(deck, consumer, credentials)
        for key, (reason, cure) in EXTERNAL.items():
            for item in consumer.fields.items(key):
                deck.report.left_out(item.path, reason, cure)
    return credentials


def _add_keys(deck: Deck, consumer: Consumer, credentials: Credentials) -> None:
    for number, item in enumerate(consumer.fields.items("keyauth_credentials"), 1):
        key = item.text("key")
        _see_tags(item)
        if not is_reference(deck, item, "key", "a line of consumer-keys.jsonl"):
            credentials.consumers.add_key(deck, item, consumer.name, f"kong-{number}", key)


def _are_keys(deck: Deck, consumers: Consumers) -> bool:
    """Whether all passwords may be keys of consumers, as api-key-auth has them: random, and a user of the same name."""
    items = [(consumer, item) for consumer in deck.consumers for item in consumer.fields.items("basicauth_credentials")]
    return bool(items) and all(
        item.text("username") == consumers.names.get(consumer.name)
        and KEY.fullmatch(item.text("password"))
        and not REFERENCE.fullmatch(item.text("password"))
        and not _is_hashed(deck)
        for consumer, item in items
    )


def _add_passwords(deck: Deck, consumer: Consumer, credentials: Credentials) -> None:
    for number, item in enumerate(consumer.fields.items("basicauth_credentials"), 1):
        item.see("username")
        _see_tags(item)
        credentials.consumers.add_key(deck, item, consumer.name, f"kong-password-{number}", item.text("password"))


def _add_users(deck: Deck, consumer: Consumer, credentials: Credentials) -> None:
    scopes = credentials.consumers.labels_of(consumer)
    for item in consumer.fields.items("basicauth_credentials"):
        username, password = item.text("username"), item.text("password")
        _see_tags(item)
        name = f"kong-password-{len(credentials.users) + 1}"
        if is_reference(deck, item, "password", "a hash in passwordHash of basic-auth"):
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
    if _is_hashed(deck):
        return "its password is hashed already (Kong: SHA-1), in a way that no policy verifies", NEW_CREDENTIALS
    if not USERNAME.fullmatch(username) or username in others:
        return "its user name has characters that no client can send, or another user has it", NEW_CREDENTIALS
    if not password or "\0" in password or len(password.encode(errors="surrogatepass")) > BCRYPT_BYTES:
        return f"its password has more than {BCRYPT_BYTES} bytes, or none", NEW_CREDENTIALS
    return None


def _is_hashed(deck: Deck) -> bool:
    """Whether the file has hashes of Kong's in the place of passwords."""
    info = deck.source.value.get("_info")
    skips = isinstance(info, dict) and bool(info.get("skip_hash_for_basic_auth"))
    return skips or deck.source.value.get("_transform") is False


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
        if key is None or not 0 < len(issuer) <= LONGEST_ISSUER or issuer in known or len(known) == MOST_ISSUERS:
            reason = "its public key cannot be read, or its issuer is another consumer's, or there are more than 32"
            deck.report.left_out(item.path, reason, f"add it to issuers of jwt-auth by hand, or: {INSTALL}")
            continue
        credentials.issuers.append(
            {"issuer": issuer, "audiences": [], "jwks": {"keys": [key]}, "algorithms": [algorithm]}
        )
        name = credentials.consumers.names[consumer.name]
        credentials.consumers.claims.setdefault(name, []).append({"issuer": issuer})


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
