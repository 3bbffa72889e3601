"""Which node a stream over the network may be: by the node's own certificate, or by a token of the controller's."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import msgspec
from grpc import aio

from gatewright_controller.access import Caller
from gatewright_controller.nodes.refusals import Refusals

log = logging.getLogger(__name__)
Context = aio.ServicerContext[Any, Any]
FindCaller = Callable[[str], Awaitable[Caller | None]]
"""Who comes with a token; None: no caller."""
RECHECK_SECONDS = 30.0
"""Between two looks at the token of a stream: a deleted one opens nothing for long."""


class NodeTls(msgspec.Struct, frozen=True):
    """listen: HOST:PORT. The files of the controller's certificate and key, and of who signs those of nodes; "": nodes
    show none, and have tokens."""

    listen: str
    certificate: str
    key: str
    authority: str = ""

    def credentials(self) -> grpc.ServerCredentials:
        """They are read again once a file has changed. Raises OSError."""
        seen = self._mark()
        first = self._configuration()

        def newest() -> Any:
            nonlocal seen
            try:
                if (mark := self._mark()) == seen:
                    return None
                configuration, seen = self._configuration(), mark
            except OSError as error:  # it is being replaced; the earlier one stays
                log.warning("the certificate for nodes cannot be read again", extra={"reason": str(error)})
                return None
            return configuration

        return grpc.dynamic_ssl_server_credentials(first, newest, bool(self.authority))

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        key, chain = Path(self.key).read_bytes(), Path(self.certificate).read_bytes()
        authority = Path(self.authority).read_bytes() if self.authority else None
        return grpc.ssl_server_certificate_configuration([(key, chain)], authority)

    def _mark(self) -> tuple[tuple[int, int], ...]:
        files = (self.certificate, self.key, self.authority)
        return tuple((status.st_mtime_ns, status.st_ino) for status in (Path(file).stat() for file in files if file))


class NotNowError(Exception):
    """The store, which decides it, does not answer now."""


class NodeAccess:
    """Asked for each stream. A stream that is not encrypted comes from this machine, by a socket that checks its peers.

    find: for tokens. Raises `NotNowError`.
    """

    def __init__(self, find: FindCaller, refusals: Refusals) -> None:
        self._find, self._refusals = find, refusals

    async def admit(self, context: Context, node_id: str, labels: Mapping[str, str]) -> None:
        """Ends the stream with UNAUTHENTICATED or PERMISSION_DENIED where it may not be this node's; with UNAVAILABLE
        where that is not known now: the node tries again."""
        try:
            refusal = await self._refusal(context, node_id, labels)
        except NotNowError:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the controller cannot read its tokens now")
        if refusal:
            await refuse(context, node_id, refusal, self._refusals)

    async def watch(self, context: Context, node_id: str, labels: Callable[[], Mapping[str, str]]) -> str:
        """Returns once the stream may be this node's no longer, and why. labels: those that it has now."""
        refusal = None
        while not refusal:
            await asyncio.sleep(RECHECK_SECONDS)
            with contextlib.suppress(NotNowError):  # not known now: the stream stays what it was
                refusal = await self._refusal(context, node_id, labels())
        return refusal[1]

    async def permits(self, context: Context, node_id: str, labels: Mapping[str, str]) -> bool:
        """Whether the stream may be this node's, with other labels than before. Not while that is not known."""
        try:
            return not await self._refusal(context, node_id, labels)
        except NotNowError:
            return False

    async def _refusal(
        self, context: Context, node_id: str, labels: Mapping[str, str]
    ) -> tuple[grpc.StatusCode, str] | None:
        properties = context.auth_context()
        if properties.get("transport_security_type") != [b"ssl"]:
            return None
        if names := set(_names(properties)):
            expected = f"expected a certificate of the node {node_id}, got one of {', '.join(sorted(names))}"
            return None if node_id in names else (grpc.StatusCode.PERMISSION_DENIED, expected)
        caller = await self._find(_token(context))
        if caller is None:
            expected = "expected a token with the role node, which is known here and has not expired"
            return grpc.StatusCode.UNAUTHENTICATED, expected
        why = caller.node_refusal(node_id, labels)
        return (grpc.StatusCode.PERMISSION_DENIED, why) if why else None


async def refuse(context: Context, node_id: str, refusal: tuple[grpc.StatusCode, str], refusals: Refusals) -> None:
    """Ends the stream, and logs the reason where it is news."""
    code, why = refusal
    if refusals.note(node_id, context.peer(), why):
        log.warning("node refused", extra={"node": node_id, "peer": context.peer(), "reason": why})
    await context.abort(code, why)


def _names(properties: Any) -> Iterator[str]:
    """Of the node's certificate; none without one."""
    for member in ("x509_subject_alternative_name", "x509_common_name"):
        yield from (name.decode(errors="replace") for name in properties.get(member, ()))


def _token(context: Context) -> str:
    for name, value in context.invocation_metadata() or ():
        if name == "authorization" and isinstance(value, str):
            scheme, _, text = value.partition(" ")
            return text.strip() if scheme.lower() == "bearer" else ""
    return ""
