from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from .provider import Provider, running_provider


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with running_provider() as provider:
        yield provider
