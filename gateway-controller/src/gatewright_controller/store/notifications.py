"""PostgreSQL tells of writes: controllers of one database hear of each other's (LISTEN and NOTIFY)."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, LiteralString

if TYPE_CHECKING:
    from psycopg import AsyncConnection

log = logging.getLogger(__name__)
CHANNEL = "gatewright_written"
NOTIFY = f"NOTIFY {CHANNEL}"
"""In a writing transaction: heard once that is committed."""
LOOK_SECONDS = 5.0
"""After which is looked without having heard of anything: what is heard may be lost with a connection."""
ANSWER_SECONDS = 15.0
"""The longest that a server may take to answer; one that hangs is connected to anew."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, JITTER = 0.1, 0.5, 0.25
"""Between two tries to connect; each is twice the one before, and a share of itself longer at most."""


async def listen(options: Mapping[str, Any], written: Callable[[], None]) -> None:
    """Calls `written` whenever something may have been written, until it is cancelled. options: of the connection."""
    import psycopg

    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(**options, autocommit=True) as connection:
                await _execute(connection, f"LISTEN {CHANNEL}")
                written()  # what was written before
                if pause > FIRST_PAUSE_SECONDS:
                    log.info("writes of other controllers are heard again")
                pause = FIRST_PAUSE_SECONDS
                while True:
                    heard = [note async for note in connection.notifies(timeout=LOOK_SECONDS, stop_after=1)]
                    written()
                    if not heard:
                        await _execute(connection, "SELECT 1")
        except (psycopg.Error, TimeoutError) as error:
            if pause == FIRST_PAUSE_SECONDS:
                reason = " ".join(str(error).split()) or f"expected an answer within {ANSWER_SECONDS:.0f} s, got none"
                log.warning("writes of other controllers are not heard; trying again", extra={"reason": reason})
        await asyncio.sleep(pause * random.uniform(1, 1 + JITTER))  # noqa: S311 - no secret
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


async def _execute(connection: AsyncConnection[Any], statement: LiteralString) -> None:
    """Raises `TimeoutError`."""
    async with asyncio.timeout(ANSWER_SECONDS):
        await connection.execute(statement)
