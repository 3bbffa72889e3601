"""Values of Secrets on their way to nodes: each node is sent those that its APIs name, once for each version."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, MutableMapping

from gatewright_controller._gen import node_pb2


class SecretValues:
    """The values of all Secrets, and which APIs name which. In memory only, as all that nodes are sent."""

    def __init__(self) -> None:
        self._values: dict[str, node_pb2.SecretValues] = {}
        self._users: dict[str, set[str]] = {}
        self._named: dict[str, Collection[str]] = {}
        """By API."""
        self.changes = 0
        """How often a Secret has come, changed or gone."""

    @property
    def names(self) -> Collection[str]:
        """Of all Secrets."""
        return self._values.keys()

    def put(self, values: node_pb2.SecretValues) -> None:
        """In the place of those that the Secret had."""
        self._values[values.name] = values
        self.changes += 1

    def drop(self, name: str) -> None:
        """The Secret is gone."""
        self._values.pop(name, None)
        self.changes += 1

    def use(self, api: str, names: Collection[str]) -> None:
        """The API names these Secrets, and no others."""
        for name in self._named.pop(api, ()):
            self._users[name].discard(api)
        if names:
            self._named[api] = names
        for name in names:
            self._users.setdefault(name, set()).add(api)

    def users(self, name: str) -> Collection[str]:
        """Names of the APIs that name the Secret."""
        return self._users.get(name, ())

    def unsent(self, runs: Callable[[str], bool], sent: MutableMapping[str, str]) -> Iterator[node_pb2.SecretValues]:
        """What a node lacks. runs: whether it runs an API, or is to. sent: Secret → version that it was sent; what is
        yielded counts as sent, and what none of its APIs names is forgotten, as the node forgets it."""
        needed = {name for name, users in self._users.items() if any(map(runs, users))}
        for name in sent.keys() - needed:
            del sent[name]
        for name in sorted(needed & self._values.keys()):
            values = self._values[name]
            version = values.version or values.unavailable
            if sent.get(name) != version:
                sent[name] = version
                yield values
