"""Lets a request pass only if its sender has signed it with a shared secret.

The body counts byte for byte as it was sent. All keys are tried, each compared in constant time: how long an answer
takes tells neither how near a signature was nor which key is good. The identity's subject is the name of the key.

Limits: without `replayProtection` a request passes again within `toleranceSeconds`, and for ever where no time is
signed (`github`); with it a sender cannot send the very same twice in a second. What is not in the signed text is not
protected: with the styles of services that is all but the body and the time.

GitHub: https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
Stripe: https://docs.stripe.com/webhooks#verify-manually
Slack: https://docs.slack.dev/authentication/verifying-requests-from-slack
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sdk.policy import Identity, ImmediateResponse, RequestAction, RequestContext
from sdk.store import Store

from sdk import clock

MOST_SIGNATURES = 16
"""Of one request."""
LEAST_SECRET = 16
"""Characters, which the schema does not count where a secret is named."""
SECONDS = re.compile(r"[0-9]{1,12}")
FIELD = re.compile(r"\{(timestamp|method|path|query|body)\}")


@dataclass(frozen=True, slots=True)
class Key:
    name: str
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Verifier:
    """What `prepare` makes."""

    scheme: Scheme
    keys: list[Key]
    tolerance: int
    used: Store | None
    """The signatures that have been used; None: they may be used again."""

    def is_recent(self, signed: Signed) -> bool:
        """Whether the time of signing is near enough, where one is signed."""
        if not self.scheme.has_time:
            return True
        is_time = SECONDS.fullmatch(signed.timestamp) is not None
        return is_time and abs(clock.now() - int(signed.timestamp)) <= self.tolerance

    def signers(self, signed: Signed, message: bytes) -> list[str]:
        """The names of the keys that give one of these signatures, each once, in their order."""
        given = [self._written(signature) for signature in signed.signatures]
        found: dict[str, None] = {}
        for key in self.keys:
            wanted = self._signature(key, message)
            matches = [hmac.compare_digest(one, wanted) for one in given]
            if any(matches):
                found[key.name] = None
        return list(found)

    def is_first(self, names: list[str], message: bytes) -> bool:
        """Whether what these have signed has not been here before, by none of them: who has recorded the signatures of
        several could send them one by one. StoreUnavailableError: nobody knows."""
        if (used := self.used) is None:
            return True
        seconds = 2 * self.tolerance + 1  # as long as the time of signing, which may be ahead, is near enough
        keys = [hashlib.sha256(f"{name}\0".encode() + message).digest() for name in names]
        first = [used.set(key, b"", ttl=seconds, if_absent=True) for key in keys]  # each is used from now on
        return all(first)

    def _written(self, signature: str) -> bytes:
        text = signature.lower() if self.scheme.encoding == "hex" else signature
        return text.encode("utf-8", "surrogateescape")

    def _signature(self, key: Key, message: bytes) -> bytes:
        digest = hmac.digest(key.secret, message, self.scheme.algorithm)
        return digest.hex().encode() if self.scheme.encoding == "hex" else base64.b64encode(digest)


def prepare(params: dict[str, Any]) -> Verifier:
    """ValueError: two requests may have the same signature, a replay cannot be told, or a secret is too short."""
    scheme = scheme_of(params)
    if params["replayProtection"] and not scheme.has_time:
        raise ValueError("replayProtection: expected a way of signing that has a time, got one without")
    used = Store("used", keep=True) if params["replayProtection"] else None
    return Verifier(scheme, list(keys_of(params)), params["toleranceSeconds"], used)


def keys_of(params: dict[str, Any]) -> Iterator[Key]:
    for number, one in enumerate(params["keys"]):
        secret = one["secret"].reveal()
        if len(secret) < LEAST_SECRET:
            raise ValueError(f"keys[{number}].secret: expected {LEAST_SECRET} characters and more, got fewer")
        yield Key(one["name"], secret.encode())


def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    verifier: Verifier = ctx.prepared
    try:
        signed = verifier.scheme.read(ctx)
    except MissingError as error:
        return refused(verifier, str(error))
    if not verifier.is_recent(signed):
        return refused(verifier, f"expected a time of signing within {verifier.tolerance} seconds from now")
    message = verifier.scheme.message(ctx, signed.timestamp)
    names = verifier.signers(signed, message)
    if not names:
        return refused(verifier, "the signature is not that of this request with a key that is known here")
    if not verifier.is_first(names, message):
        return refused(verifier, "the signature has been used before")
    ctx.identity = Identity(names[0], method="hmac")
    return None


def refused(verifier: Verifier, why: str) -> ImmediateResponse:
    problem = {"type": "about:blank", "title": "Unauthorized", "status": 401, "detail": why}
    headers = {
        "content-type": "application/problem+json",
        "www-authenticate": f"HMAC-{verifier.scheme.algorithm.upper()}",
    }
    return ImmediateResponse(401, headers, json.dumps(problem))


# ---------------------------------------------------------------- how requests are signed


@dataclass(frozen=True, slots=True)
class Signed:
    """What a sender says of its signature."""

    signatures: list[str]
    timestamp: str = ""
    """Seconds since 1970, as they are written."""


class MissingError(Exception):
    """A request has no signature, or no time of signing. Its text is for the client."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """A way of signing."""

    read: Callable[[RequestContext], Signed]
    """Raises MissingError."""
    template: str
    algorithm: str = "sha256"
    encoding: str = "hex"

    @property
    def has_time(self) -> bool:
        """Whether the time of signing is signed."""
        return "{timestamp}" in self.template

    def message(self, ctx: RequestContext, timestamp: str) -> bytes:
        """What is signed of a request."""
        text = {"timestamp": timestamp, "method": ctx.method, "path": ctx.raw_path, "query": ctx.query}
        head = FIELD.sub(lambda found: text[found[1]], self.template.removesuffix("{body}"))
        return head.encode("utf-8", "surrogateescape") + (ctx.body or b"")


def scheme_of(params: Mapping[str, Any]) -> Scheme:
    """The one that the parameters name. ValueError: a template by which two requests may have the same signature."""
    if params["style"] == "github":
        return Scheme(_lines("X-Hub-Signature-256", "sha256="), "{body}")
    if params["style"] == "slack":
        return Scheme(_lines("X-Slack-Signature", "v0=", "X-Slack-Request-Timestamp"), "v0:{timestamp}:{body}")
    if params["style"] == "stripe":
        return Scheme(_stripe, "{timestamp}.{body}")
    said = params["generic"]
    template = said["signed"]
    _check(template)
    time_header = said["timestampHeader"] if "{timestamp}" in template else ""
    read = _lines(said["signatureHeader"], said["prefix"], time_header)
    return Scheme(read, template, said["algorithm"], said["encoding"])


ENDS = {"timestamp": "[^0-9]", "method": "[ :\n]", "path": "[ ?\n]", "query": "[ \n]"}
"""What may follow each field in a template: it never stands in the field itself."""
ENDS_IN_WORDS = {
    "timestamp": "anything but a digit", "method": "a space, a colon or a line end",
    "path": "a space, a question mark or a line end", "query": "a space or a line end",
}  # fmt: skip


def _check(template: str) -> None:
    for found in FIELD.finditer(template):
        name, behind = found[1], template[found.end() :]
        if name != "body" and (behind.startswith("{") or not re.match(ENDS[name], behind)):
            raise ValueError(
                f"generic.signed: expected {ENDS_IN_WORDS[name]} behind {{{name}}}, got {behind[:1]!r}; "
                "else a part of one field could pass for a part of the next"
            )


def _lines(header: str, prefix: str, time_header: str = "") -> Callable[[RequestContext], Signed]:
    """A signature in one header, a time in another one."""

    def read(ctx: RequestContext) -> Signed:
        signature = _only(ctx, header)
        if not signature.startswith(prefix):
            raise MissingError(f"expected {header} to begin with {prefix}")
        return Signed([signature.removeprefix(prefix)], _only(ctx, time_header) if time_header else "")

    return read


def _stripe(ctx: RequestContext) -> Signed:
    """`t=1764115200,v1=5257…,v1=9a1c…,v0=…`: what is not v1 is not looked at."""
    pairs = [part.strip().partition("=") for part in _only(ctx, "Stripe-Signature").split(",")]
    times = [value for name, _, value in pairs if name == "t"]
    signatures = [value for name, _, value in pairs if name == "v1"]
    if len(times) != 1 or not 1 <= len(signatures) <= MOST_SIGNATURES:
        raise MissingError(f"expected Stripe-Signature with one t and 1 to {MOST_SIGNATURES} v1")
    return Signed(signatures, times[0])


def _only(ctx: RequestContext, name: str) -> str:
    """The header's one line: upstream sees the others too, and may take another one."""
    lines = ctx.headers.get_all(name)
    if len(lines) != 1:
        raise MissingError(f"expected one line of {name}, got {len(lines)}")
    return lines[0]
