"""Whether a database that other machines serve answers: by its last use, and logged once for each reason."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator

from gatewright_controller.store.errors import StorageError

log = logging.getLogger(__name__)
Obstacle = Callable[[BaseException | None], str]
"""Why the database cannot be used, in words with the cure; of the driver's error."""


class DatabaseState:
    """Used by many threads. trouble: why the database does not answer; "" while it does."""

    def __init__(self, obstacle: Obstacle) -> None:
        self.trouble = ""
        self._obstacle = obstacle
        self._logged: set[str] = set()
        self._mutex, self._trying = threading.Lock(), threading.Lock()

    @contextlib.contextmanager
    def trying(self) -> Iterator[None]:
        """While the database is away one thread at a time tries it: a try may take seconds, and other requests have
        their answer at once. Raises `StorageError`."""
        if not self.trouble:
            yield
            return
        if not self._trying.acquire(blocking=False):
            raise StorageError(self.trouble or "the database is away", full=False, away=True)
        try:
            yield
        finally:
            self._trying.release()

    def note_answer(self) -> None:
        """The database answers."""
        if not self.trouble:
            return
        with self._mutex:
            was_away, self.trouble = bool(self.trouble), ""
            self._logged.clear()
        if was_away:
            log.info("the database answers again")

    def note_failure(self, error: BaseException | None) -> str:
        """The database did not answer; why, in words."""
        reason = self._obstacle(error)
        with self._mutex:
            is_new = reason not in self._logged
            self._logged.add(reason)
            self.trouble = reason
        if is_new:
            log.error("%s", reason, extra={"meanwhile": "nodes serve what they have; nothing can be written"})
        return reason
