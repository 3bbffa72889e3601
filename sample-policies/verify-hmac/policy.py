"""Lets a request pass only if its sender has signed the body's bytes, as they came, with a shared secret.

    X-Signature-Timestamp: 1764115200
    X-Signature: 6f0b…, the HMAC-SHA256 of "1764115200.", and the body behind it, in hex

What is signed is the time and the body: neither path nor headers. Give each API a secret of its own.

A request that somebody has recorded passes again until its time of signing is `toleranceSeconds` old. The policy
remembers nothing, for the next request may come to another process: keep that time short, and where an order must not
be taken twice, have an id in the body that upstream takes once.
"""

import hashlib
import hmac
import re
import time
from typing import Any

from sdk.policy import ImmediateResponse, RequestAction, RequestContext

SECONDS = re.compile(r"[0-9]{1,12}")


def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    timestamp, signature = (only(ctx.headers.get_all(params[name])) for name in ("timestampHeader", "signatureHeader"))
    if not is_recent(timestamp, params["toleranceSeconds"]):
        return refused(f"{params['timestampHeader']}: expected the time of signing, in seconds since 1970")
    if not is_signed(timestamp, ctx.body or b"", signature, params["secrets"]):
        return refused(f"{params['signatureHeader']}: expected the HMAC-SHA256 of the time and the body, in hex")
    return None


def only(lines: list[str]) -> str:
    """The header's one line, or nothing: upstream sees the others too, and may take another one."""
    return lines[0] if len(lines) == 1 else ""


def is_recent(timestamp: str, tolerance: float) -> bool:
    return SECONDS.fullmatch(timestamp) is not None and abs(time.time() - int(timestamp)) <= tolerance


def is_signed(timestamp: str, body: bytes, signature: str, secrets: list[str]) -> bool:
    """Whether any of the secrets gives this signature; how long it takes tells nothing of how near it was."""
    given = signature.lower().encode("utf-8", "surrogateescape")
    signed = timestamp.encode() + b"." + body
    wanted = [hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest().encode() for secret in secrets]
    return any(hmac.compare_digest(given, one) for one in wanted)


def refused(why: str) -> ImmediateResponse:
    return ImmediateResponse(401, {"content-type": "text/plain", "www-authenticate": "HMAC-SHA256"}, why + "\n")
