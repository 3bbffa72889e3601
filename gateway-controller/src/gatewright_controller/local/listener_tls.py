"""TLS of a listener: its certificate and key are files, which are read again when they have been renewed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

from gatewright_documents.mistake import Invalid, Mistake

from gatewright_controller.local.certificate_pair import Validity, load_pair, validity

log = logging.getLogger(__name__)
PERIOD_SECONDS = 2.0
"""Between two checks of the files."""
REFUSED = "clients refuse it; renew it in its file, which is read again"

Mark = tuple[tuple[int, int, int] | None, ...]
"""Time, size and identity of each file; None for one that is not there."""


class ListenerTls:
    """context: for the next connection; connections keep the one that they began with.

    A certificate outside its time is served nevertheless, with a warning: clients say why they refuse it, and a
    controller that ended would leave its nodes without all else that it does. Raises `Invalid`.
    """

    def __init__(self, certificate: str, key: str) -> None:
        self._certificate, self._key = certificate, key
        self._decided = self._last = self._mark()
        self.context, self._validity = self._load()
        self._warned: Validity | None = None
        self._warn()

    @contextlib.asynccontextmanager
    async def renewing(self) -> AsyncIterator[None]:
        """Checks the files meanwhile."""
        checking = asyncio.create_task(self._check_always(), name="renewed certificate")
        try:
            yield
        finally:
            checking.cancel()
            await asyncio.wait([checking])

    async def _check_always(self) -> None:
        while True:
            await asyncio.sleep(PERIOD_SECONDS)
            self.check()

    def check(self) -> None:
        """Uses the files if they have changed, and can be used; else the earlier pair stays, and the reason is logged.

        A certificate and its key are replaced one after the other. A change counts only if two checks in a row see the
        same files.
        """
        mark, last = self._mark(), self._last
        self._last = mark
        if mark == last and mark != self._decided:
            self._decided = mark
            self._renew()
        self._warn()

    def _renew(self) -> None:
        try:
            context, renewed = self._load()
            if reason := renewed.obstacle(datetime.now(UTC)):
                raise Invalid([Mistake("tlsCertificate", f"{self._certificate}: it {reason}")])
        except Invalid as invalid:
            reasons = "; ".join(str(mistake) for mistake in invalid.mistakes)
            log.error("the renewed certificate cannot be used, the earlier one stays", extra={"reason": reasons})
            return
        self.context, self._validity = context, renewed
        log.info("the renewed certificate is used", extra={"file": self._certificate, "end": renewed.ends.isoformat()})

    def _load(self) -> tuple[ssl.SSLContext, Validity]:
        """Raises Invalid."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            if mistakes := load_pair(context, self._certificate, self._key):
                raise Invalid([self._mistake(sentence) for sentence in mistakes])
            return context, validity(context, self._certificate)
        except (ssl.SSLError, ValueError) as error:
            reason = getattr(error, "verify_message", None) or getattr(error, "reason", None) or str(error)
            sentence = f"expected the certificate of a TLS server, got one that is refused: {reason}"
        except OSError as error:  # a file was taken away between two looks at it
            sentence = f"expected a file that can be read, got: {error.strerror}"
        raise Invalid([Mistake("tlsCertificate", f"{self._certificate}: {sentence}")])

    def _mistake(self, sentence: str) -> Mistake:
        field = "tlsKey" if sentence.startswith(f"{self._key}: ") else "tlsCertificate"
        return Mistake(field, sentence)

    def _warn(self) -> None:
        """Logs once that clients refuse the certificate."""
        reason = self._validity.obstacle(datetime.now(UTC))
        if reason and self._warned != self._validity:
            self._warned = self._validity
            log.warning(f"the certificate of the management API {reason}: {REFUSED}", extra={"file": self._certificate})

    def _mark(self) -> Mark:
        return tuple(_look(Path(file)) for file in (self._certificate, self._key))


def _look(file: Path) -> tuple[int, int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
