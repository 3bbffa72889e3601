"""Values of Secrets on their way to nodes: each node is sent those that its APIs name, once for each version."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, MutableMapping

from msgspec.structs import replace

from gatewright_controller._gen import node_pb2
from gatewright_controller.resource.node_labels import has_labels
from gatewright_controller.translate import Bundle

MOST_EARLIER = 8
"""Earlier versions of an API whose Secrets are remembered."""


class SecretValues:
    """The values of all Secrets, and which versions of APIs name which: a node may go on with a version that was
    replaced. In memory only, as all that nodes are sent."""

    def __init__(self) -> None:
        self._values: dict[str, node_pb2.SecretValues] = {}
        self._users: dict[str, set[str]] = {}
        self._present: dict[str, Bundle] = {}
        """Versions that name Secrets, by API."""
        self._earlier: dict[str, dict[str, Bundle]] = {}
        """Those that were replaced, by API and digest; the newest last."""
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

    def use(self, bundle: Bundle) -> None:
        """The API names the Secrets of this version, and no others."""
        self.unuse(bundle.api)
        if bundle.secrets:
            self._present[bundle.api] = replace(bundle, content=b"")
        for name in bundle.secrets:
            self._users.setdefault(name, set()).add(bundle.api)

    def unuse(self, api: str) -> None:
        """The API names no Secret any more."""
        if (before := self._present.pop(api, None)) is None:
            return
        for name in before.secrets:
            self._users[name].discard(api)
        earlier = self._earlier.setdefault(api, {})
        earlier.pop(before.digest, None)
        earlier[before.digest] = before
        if len(earlier) > MOST_EARLIER:
            del earlier[next(iter(earlier))]

    def forget_earlier(self, may_run: Callable[[str, str], bool]) -> None:
        """may_run: whether a node may still run a version of an API, by its digest."""
        for api, versions in list(self._earlier.items()):
            kept = {digest: bundle for digest, bundle in versions.items() if may_run(api, digest)}
            if kept:
                self._earlier[api] = kept
            else:
                del self._earlier[api]

    def users(self, name: str) -> Collection[str]:
        """Names of the APIs that name the Secret."""
        return self._users.get(name, ())

    def needed(self, runs: Callable[[str], bool], applied: Mapping[str, str], labels: Mapping[str, str]) -> set[str]:
        """Names of the Secrets that a node with these labels needs. runs: whether it runs an API, or is to. applied:
        API → digest of the version that it runs. Only versions that this controller has known count, whatever a node
        says that it has."""
        names = {name for name, users in self._users.items() if any(map(runs, users))}
        for api, versions in self._earlier.items():
            bundle = versions.get(applied.get(api, ""))
            if bundle and has_labels(labels, bundle.nodes):
                names |= bundle.secrets
        return names

    def forget_sent(self, needed: Collection[str], sent: MutableMapping[str, str]) -> None:
        """Of what a node was sent it forgets what it does not need."""
        for name in sent.keys() - needed:
            del sent[name]

    def unsent(self, needed: Collection[str], sent: MutableMapping[str, str]) -> Iterator[node_pb2.SecretValues]:
        """What a node lacks. sent: Secret → version that it was sent; what is yielded counts as sent."""
        self.forget_sent(needed, sent)
        for name in sorted(self._values.keys() & needed):
            values = self._values[name]
            version = values.version or values.unavailable
            if sent.get(name) != version:
                sent[name] = version
                yield values
