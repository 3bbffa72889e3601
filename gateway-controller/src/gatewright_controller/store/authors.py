"""Who writes a resource, for whom and over what: one value that is passed down to the store."""

from __future__ import annotations

import msgspec

from gatewright_controller.access import EVERYTHING, Permit

ExpectedRevisions = frozenset[int] | None
"""The revisions that a write is for; None: any."""
NO_OWNER = ""
"""The owner of a resource that has none."""


class Author(msgspec.Struct, frozen=True):
    """actor: `local` (this machine, without a token), `token` (the configured one), `token:NAME`, `file`, `kubernetes`,
    or `unknown`. origin: the address of the client, or the file. reason: in the actor's words, "" for none.
    """

    actor: str
    origin: str = ""
    reason: str = ""


UNKNOWN = Author("unknown")


class Terms(msgspec.Struct, frozen=True):
    """What a write is done under.

    owner: whose the resource is from then on; NO_OWNER keeps the stored owner. take_over: whether it may be another's
    now. expected: the revisions that the resource may have. permit: what the author may write.
    """

    author: Author = UNKNOWN
    owner: str = NO_OWNER
    take_over: bool = False
    expected: ExpectedRevisions = None
    permit: Permit = EVERYTHING


ANY_TERMS = Terms()
