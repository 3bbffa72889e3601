"""A state directory with which tests start gateways of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e.kit.gateway import api, attach, running
from e2e.kit.upstream import Upstream


@pytest.fixture(scope="session")
def stored_state(build: Path, tmp_path_factory: pytest.TempPathFactory, recording_upstream: Upstream) -> Path:
    """That of a run that has ended, with the API `kept`, whose policy is `mark`. Start with a copy of it."""
    state = tmp_path_factory.mktemp("stored") / "state"
    with running(build, state) as gateway:
        gateway.deploy(api("kept", recording_upstream.url, [attach("mark", {"name": "kept"})]))
    return state
