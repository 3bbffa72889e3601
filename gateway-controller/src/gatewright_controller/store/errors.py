"""Why a store refuses a write, or cannot do it."""

from __future__ import annotations


class ApiExistsError(Exception):
    """An API of this name is there already."""


class NoSuchApiError(LookupError):
    """There is no API of this name."""


class NoSuchResourceError(LookupError):
    """There is no resource of this kind and name."""

    def __init__(self, kind: str, name: str) -> None:
        self.kind, self.name = kind, name
        super().__init__(f"there is no {kind} {name}")


class NoSuchRevisionError(LookupError):
    """The resource has no such revision. oldest, newest: those of its writes that are kept, None where none are."""

    def __init__(self, kind: str, name: str, revision: int, oldest: int | None, newest: int | None) -> None:
        self.kind, self.name, self.revision = kind, name, revision
        self.oldest, self.newest = oldest, newest
        super().__init__(f"{kind} {name} has no revision {revision}")


class TokenExistsError(Exception):
    """A token of this name is there already."""


class NoSuchTokenError(LookupError):
    """There is no token of this name."""


class ConsumerKeyExistsError(Exception):
    """The consumer has a key of this name already; name "": it has as many keys as it may have."""

    def __init__(self, consumer: str, name: str) -> None:
        self.consumer, self.name = consumer, name
        super().__init__(f"{consumer} has a key {name}" if name else f"{consumer} has as many keys as it may have")


class ConsumerKeyInUseError(Exception):
    """The text of the key is that of another one; whose it is, is not said."""


class NoSuchConsumerKeyError(LookupError):
    """The consumer has no key of this name."""

    def __init__(self, consumer: str, name: str) -> None:
        self.consumer, self.name = consumer, name
        super().__init__(f"{consumer} has no key {name}")


class OtherRevisionError(Exception):
    """The resource has another revision than a write was made for; updated_at: when it got that one. 0 and "": it is
    not there."""

    def __init__(self, kind: str, name: str, revision: int, updated_at: str) -> None:
        self.kind, self.name, self.revision, self.updated_at = kind, name, revision, updated_at
        super().__init__(f"{kind} {name} has revision {revision}")


class WrittenMeanwhileError(Exception):
    """Another controller has written what a write was made of; it is to be made anew."""


class OtherOwnerError(Exception):
    """The resource is `owner`'s, and a write for another did not say that it takes it over."""

    def __init__(self, kind: str, name: str, owner: str, wanted: str) -> None:
        self.kind, self.name, self.owner, self.wanted = kind, name, owner, wanted
        super().__init__(f"{kind} {name} is owned by {owner}")


class ContextTakenError(Exception):
    """Another API, named `api`, has the context on the host: as `resource.claims` has both."""

    def __init__(self, host: str, context: str, api: str) -> None:
        self.host, self.context, self.api = host, context, api
        super().__init__(f"{context} on {host} is {api}'s")


class StorageError(Exception):
    """The storage does not do now what is asked of it. full: for want of room. away: the database does not answer.
    unknown: whether the write was stored, since its connection was lost after its commit was sent; else what was stored
    is as it was."""

    def __init__(self, reason: str, full: bool, *, away: bool = False, unknown: bool = False) -> None:
        self.full, self.away, self.unknown = full, away, unknown
        super().__init__(reason)


class StoreError(Exception):
    """The database cannot be used; the message says why and what to do."""


class NoDatabaseError(StoreError):
    """The database cannot be opened now. It may be later: once there is room, or a good one in its place."""
