"""Who comes with a token, at the management API and at the nodes' listener."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Sequence
from pathlib import Path

from gatewright_documents.mistake import Invalid, Mistake
from gatewright_documents.os_errors import os_reason

from gatewright_controller import access
from gatewright_controller.access import Caller, Grant, Token
from gatewright_controller.store import Store
from gatewright_controller.times import timestamp, utc_now

SHORTEST_TOKEN = 16
"""Characters of a token in a file: a shorter one could be guessed."""
CONFIGURED_NODE = Caller("node-token", (Grant("node"),))
"""The holder of a token of the file that the controller was started with."""
log = logging.getLogger(__name__)


class KnownTokens:
    """Looks each token up when it comes: a deleted one opens nothing from then on, whichever controller deleted it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def caller(self, text: str) -> Caller | None:
        """None where it is unknown or has expired. Raises `StorageError`."""
        if not text.startswith(access.PREFIX):
            return None
        token = await asyncio.to_thread(self._store.token_of, access.digest_of(text))
        return token.caller if token and not has_expired(token) else None


def has_expired(token: Token) -> bool:
    """Whether it opens nothing any more."""
    return bool(token.expires_at) and token.expires_at <= timestamp(utc_now())


class NodeTokens:
    """Tokens in a file of the operator's, a line each, by which any node may connect, before those of the controller.

    The file is read for each look: a token that is taken out opens nothing from then on. A file that cannot be used
    while it is being replaced leaves the earlier tokens as they are. Raises `Invalid` where it cannot be used at first.
    """

    def __init__(self, file: Path, known: KnownTokens) -> None:
        self._file, self._known = file, known
        self._tokens = _read_tokens(file)
        self._trouble = ""

    async def caller(self, text: str) -> Caller | None:
        """None where it is unknown or has expired. Raises `StorageError`."""
        tokens = await asyncio.to_thread(self._newest)
        if any(hmac.compare_digest(text.encode(), token.encode()) for token in tokens):
            return CONFIGURED_NODE
        return await self._known.caller(text)

    def _newest(self) -> Sequence[str]:
        trouble = ""
        try:
            self._tokens = _read_tokens(self._file)
        except Invalid as invalid:
            trouble = str(invalid)
        if trouble and trouble != self._trouble:
            log.warning("the tokens of nodes cannot be read again; the earlier ones stay", extra={"reason": trouble})
        self._trouble = trouble
        return self._tokens


def _read_tokens(file: Path) -> Sequence[str]:
    """Raises `Invalid`, with no token in its message."""
    try:
        tokens = file.read_text(encoding="utf-8").split()
    except OSError as error:
        raise Invalid([Mistake("nodeTokenFile", f"expected a file that can be read: {os_reason(error)}")]) from None
    except UnicodeDecodeError:
        raise Invalid([Mistake("nodeTokenFile", f"expected text in UTF-8 in {file}")]) from None
    cure = "write a line of random characters, such as that of `openssl rand -hex 32`"
    expected = f"a token of at least {SHORTEST_TOKEN} characters on each line of {file}"
    if not tokens or any(len(token) < SHORTEST_TOKEN for token in tokens):
        got = "a shorter one" if tokens else "none"
        raise Invalid([Mistake.expecting(expected, got, cure, field="nodeTokenFile")])
    return tokens
