"""Which APIs a grant is for: by name, label, host and context."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

import msgspec
from gatewright_documents.mistake import listed

from gatewright_controller.model import Api
from gatewright_controller.resource.hosts import covers_host, patterns_of
from gatewright_controller.resource.node_labels import has_labels
from gatewright_controller.resource.paths import context_of, is_below


class Scope(msgspec.Struct, frozen=True):
    """An API is in it that fits all of its members; one that is empty fits every API.

    Of the role node, names and labels are those of nodes.

    names: globs. labels: the API has all of them. hosts: names or patterns, that cover every host of the API; one
    without hosts is on every host, which they do not cover. contexts: paths; the API's is one of them or below one.
    """

    names: Sequence[str] = ()
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    hosts: Sequence[str] = ()
    contexts: Sequence[str] = ()

    @property
    def is_every_api(self) -> bool:
        """Whether it leaves no API out."""
        return not (self.names or self.labels or self.hosts or self.contexts)

    def covers(self, api: Api) -> bool:
        """Whether the API is in it."""
        labels, context = api.metadata.labels, context_of(api.spec.context, api.spec.version)
        return (
            self.has_name(api.metadata.name)
            and has_labels(labels, self.labels)
            and (not self.hosts or all(self._has_host(host) for host in patterns_of(api.spec.hosts)))
            and (not self.contexts or any(is_below(context, top) for top in self.contexts))
        )

    def covers_resource(self, name: str, labels: Mapping[str, str]) -> bool:
        """Whether a resource of another kind is in it, which has neither hosts nor a context: by name and labels, so
        that one that is bound by hosts and contexts alone covers none."""
        if not self.is_every_api and not self.of_resources:
            return False
        return self.has_name(name) and all(labels.get(key) == value for key, value in self.labels.items())

    @property
    def of_resources(self) -> str:
        """As in `Secrets with …`; "" where it covers none, or every one."""
        return str(Scope(names=self.names, labels=self.labels))

    def has_name(self, name: str) -> bool:
        """Whether one of the names fits."""
        return not self.names or any(fnmatchcase(name, glob) for glob in self.names)

    def _has_host(self, host: str) -> bool:
        return any(covers_host(pattern, host) for pattern in self.hosts)

    def __str__(self) -> str:
        """As in `APIs with …`."""
        members = (("a name like", self.names), ("hosts of", self.hosts), ("a context of", self.contexts))
        words = [f"{words} {listed(list(values))}" for words, values in members if values]
        return " and ".join([*words, *(f"the label {key}={value}" for key, value in self.labels.items())])


EVERY_API = Scope()
