"""Writes that are completed even if the task that waits for them is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

T = TypeVar("T")


async def finished(write: Coroutine[None, None, T]) -> T:
    """A client that disconnects must not leave a write that is stored and was never handed on."""
    return await asyncio.shield(asyncio.ensure_future(write))
