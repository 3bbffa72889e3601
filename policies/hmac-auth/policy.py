"""Lets a request pass only if its sender has signed it with a shared secret.

The signature covers the body byte for byte as it was sent. All keys are tried, each in constant time, so that the time
of an answer shows neither how close a signature was nor which key matches. The identity's subject is the key's name.

Limits: without `replayProtection` a request can be replayed within `toleranceSeconds`, and without limit if no time is
signed (`github`). With it, a sender cannot send the same request twice in a second. Parts of the request that are not
in the signed text are not protected: in the styles of services only the body and the time are.

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

from sdk import clock
from sdk.policy import Identity, ImmediateResponse, RequestAction, RequestContext
from sdk.store import Store

MAX_SIGNATURES = 16
"""The most signatures of one request."""
MIN_SECRET = 16
"""The least number of characters of a secret. The schema cannot check the length of a named secret."""
SECONDS = re.compile(r"[0-9]{1,12}")
FIELD = re.compile(r"\{(timestamp|method|path|query|body)\}")


@dataclass(frozen=True, slots=True)
class Key:
    name: str
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Verifier:
    """Verifies the signatures of an instance."""

    scheme: Scheme
    keys: list[Key]
    tolerance: int
    used_signatures: Store | None
    """None: signatures may be used again."""

    def is_recent(self, signed: Signed) -> bool:
        """Whether the time of signing is within the tolerance; true if no time is signed."""
        if not self.scheme.has_time:
            return True
        is_time = SECONDS.fullmatch(signed.timestamp) is not None
        return is_time and abs(clock.now() - int(signed.timestamp)) <= self.tolerance

    def signers(self, signed: Signed, message: bytes) -> list[str]:
        """The names of the keys that match one of the signatures, without repetitions, in their order."""
        signatures = [self._normalize(signature) for signature in signed.signatures]
        names: dict[str, None] = {}
        for key in self.keys:
            expected = self._signature(key, message)
            matches = [hmac.compare_digest(signature, expected) for signature in signatures]
            if any(matches):
                names[key.name] = None
        return list(names)

    def mark_used(self, names: list[str], message: bytes) -> bool:
        """Marks these keys' signatures of the message as used. Returns whether none of them was used before: otherwise
        an attacker who has recorded signatures of several keys could replay them one by one. StoreUnavailableError."""
        if (used := self.used_signatures) is None:
            return True
        seconds = 2 * self.tolerance + 1  # as long as the time of signing, which may be ahead, is within the tolerance
        keys = [hashlib.sha256(f"{name}\0".encode() + message).digest() for name in names]
        first = [used.set(key, b"", ttl=seconds, if_absent=True) for key in keys]
        return all(first)

    def _normalize(self, signature: str) -> bytes:
        text = signature.lower() if self.scheme.encoding == "hex" else signature
        return text.encode("utf-8", "surrogateescape")

    def _signature(self, key: Key, message: bytes) -> bytes:
        digest = hmac.digest(key.secret, message, self.scheme.algorithm)
        return digest.hex().encode() if self.scheme.encoding == "hex" else base64.b64encode(digest)


def prepare(params: dict[str, Any]) -> Verifier:
    """ValueError: two requests may have the same signature, replays cannot be detected, or a secret is too short."""
    scheme = scheme_of(params)
    if params["replayProtection"] and not scheme.has_time:
        raise ValueError("replayProtection: expected a style whose signature covers a time, got one without")
    used = Store("used", keep=True) if params["replayProtection"] else None
    return Verifier(scheme, list(keys_of(params)), params["toleranceSeconds"], used)


def keys_of(params: dict[str, Any]) -> Iterator[Key]:
    for number, entry in enumerate(params["keys"]):
        secret = entry["secret"].reveal()
        if len(secret) < MIN_SECRET:
            raise ValueError(f"keys[{number}].secret: expected {MIN_SECRET} characters and more, got fewer")
        yield Key(entry["name"], secret.encode())


def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    verifier: Verifier = ctx.prepared
    try:
        signed = verifier.scheme.read(ctx)
    except MissingError as error:
        return refusal(verifier, str(error))
    if not verifier.is_recent(signed):
        return refusal(verifier, f"expected a time of signing within {verifier.tolerance} seconds of now")
    message = verifier.scheme.message(ctx, signed.timestamp)
    names = verifier.signers(signed, message)
    if not names:
        return refusal(verifier, "the signature does not match this request under any known key")
    if not verifier.mark_used(names, message):
        return refusal(verifier, "the signature has been used before")
    ctx.identity = Identity(names[0], method="hmac")
    return None


def refusal(verifier: Verifier, detail: str) -> ImmediateResponse:
    problem = {"type": "about:blank", "title": "Unauthorized", "status": 401, "detail": detail}
    headers = {
        "content-type": "application/problem+json",
        "www-authenticate": f"HMAC-{verifier.scheme.algorithm.upper()}",
    }
    return ImmediateResponse(401, headers, json.dumps(problem))


# ---------------------------------------------------------------- schemes of signing


@dataclass(frozen=True, slots=True)
class Signed:
    """The signatures of a request, and the time of signing."""

    signatures: list[str]
    timestamp: str = ""
    """Seconds since 1970, as the sender wrote them."""


class MissingError(Exception):
    """A request has no signature, or no time of signing. Its text is for the client."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """A style of signing."""

    read: Callable[[RequestContext], Signed]
    """Raises MissingError."""
    template: str
    algorithm: str = "sha256"
    encoding: str = "hex"

    @property
    def has_time(self) -> bool:
        """Whether the signature covers the time of signing."""
        return "{timestamp}" in self.template

    def message(self, ctx: RequestContext, timestamp: str) -> bytes:
        """The signed text of a request."""
        text = {"timestamp": timestamp, "method": ctx.method, "path": ctx.raw_path, "query": ctx.query}
        head = FIELD.sub(lambda match: text[match[1]], self.template.removesuffix("{body}"))
        return head.encode("utf-8", "surrogateescape") + (ctx.body or b"")


def scheme_of(params: Mapping[str, Any]) -> Scheme:
    """The style that the parameters name. ValueError: two requests may have the same text by the template."""
    if params["style"] == "github":
        return Scheme(_header_reader("X-Hub-Signature-256", "sha256="), "{body}")
    if params["style"] == "slack":
        return Scheme(_header_reader("X-Slack-Signature", "v0=", "X-Slack-Request-Timestamp"), "v0:{timestamp}:{body}")
    if params["style"] == "stripe":
        return Scheme(_read_stripe, "{timestamp}.{body}")
    generic = params["generic"]
    template = generic["signed"]
    _check_template(template)
    time_header = generic["timestampHeader"] if "{timestamp}" in template else ""
    read = _header_reader(generic["signatureHeader"], generic["prefix"], time_header)
    return Scheme(read, template, generic["algorithm"], generic["encoding"])


TERMINATORS = {"timestamp": "[^0-9]", "method": "[ :\n]", "path": "[ ?\n]", "query": "[ \n]"}
"""For each field of a template, the pattern of the text that may follow it, which never occurs in the field itself."""
TERMINATORS_IN_WORDS = {
    "timestamp": "anything but a digit", "method": "a space, a colon or a line end",
    "path": "a space, a question mark or a line end", "query": "a space or a line end",
}  # fmt: skip


def _check_template(template: str) -> None:
    for match in FIELD.finditer(template):
        name, after = match[1], template[match.end() :]
        if name != "body" and (after.startswith("{") or not re.match(TERMINATORS[name], after)):
            raise ValueError(
                f"generic.signed: expected {TERMINATORS_IN_WORDS[name]} after {{{name}}}, got {after[:1]!r}; "
                "otherwise a part of one field could pass for a part of the next"
            )


def _header_reader(header: str, prefix: str, time_header: str = "") -> Callable[[RequestContext], Signed]:
    """Returns a reader of a signature in one header, and of a time in another."""

    def read(ctx: RequestContext) -> Signed:
        signature = _single_line(ctx, header)
        if not signature.startswith(prefix):
            raise MissingError(f"expected {header} to begin with {prefix}")
        return Signed([signature.removeprefix(prefix)], _single_line(ctx, time_header) if time_header else "")

    return read


def _read_stripe(ctx: RequestContext) -> Signed:
    """`t=1764115200,v1=5257…,v1=9a1c…,v0=…`: other versions than v1 are ignored."""
    pairs = [part.strip().partition("=") for part in _single_line(ctx, "Stripe-Signature").split(",")]
    times = [value for name, _, value in pairs if name == "t"]
    signatures = [value for name, _, value in pairs if name == "v1"]
    if len(times) != 1 or not 1 <= len(signatures) <= MAX_SIGNATURES:
        raise MissingError(f"expected Stripe-Signature with one t and 1 to {MAX_SIGNATURES} v1")
    return Signed(signatures, times[0])


def _single_line(ctx: RequestContext, name: str) -> str:
    """The header's only line. Several are refused, since the upstream might use another one."""
    lines = ctx.headers.get_all(name)
    if len(lines) != 1:
        raise MissingError(f"expected one line of {name}, got {len(lines)}")
    return lines[0]
