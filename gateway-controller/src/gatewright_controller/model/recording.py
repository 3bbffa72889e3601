"""How much a node keeps of the exchanges that watches and recordings ask for."""

from __future__ import annotations

from typing import Annotated

from gatewright_controller.model.common import Strict, doc

MIB = 1024**2


class Recording(Strict, frozen=True):
    """Exchanges are recorded only on request, for a time and by a filter: docs/reference/recordings.md."""

    max_bytes: Annotated[
        int,
        doc(
            "Bytes of the engine's memory that recorded exchanges may take, with those under way and those that wait "
            "for watchers. The oldest go first. 0: nothing can be recorded.",
            ge=0,
            le=1024 * MIB,
        ),
    ] = 16 * MIB
    body_bytes: Annotated[int, doc("Bytes that are kept of each body, from its beginning.", ge=0, le=MIB)] = 16 * 1024
