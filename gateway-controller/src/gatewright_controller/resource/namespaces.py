"""Which APIs lie in the Namespace of another team: by their contexts, the paths of their operations and their hosts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gatewright_documents.mistake import Invalid, Mistake
from gatewright_documents.values import JsonObject

from gatewright_controller.model import Api, Namespace, namespace_from_document
from gatewright_controller.resource.hosts import covers_host
from gatewright_controller.resource.node_labels import has_labels, labels_text
from gatewright_controller.resource.paths import context_of, is_below

Namespaces = Mapping[str, Namespace]
"""By name."""


def namespaces_with(known: Namespaces, documents: Mapping[str, JsonObject | None]) -> Namespaces:
    """The same with these in their places, by name; None: there is none any more."""
    written = {name: namespace_from_document(document) for name, document in documents.items() if document}
    return {name: namespace for name, namespace in known.items() if name not in documents} | written


def refuse_foreign(api: Api, namespaces: Namespaces) -> None:
    """Raises `Invalid` where the API lies in a Namespace without having its labels."""
    if mistakes := list(foreign_mistakes(api, namespaces)):
        raise Invalid(mistakes)


def foreign_mistakes(api: Api, namespaces: Namespaces) -> Iterator[Mistake]:
    """What is wrong with it, with the Namespace and the labels that it wants."""
    for field, place, namespace in _places(api, namespaces):
        wanted = namespace.spec.labels
        if not has_labels(api.metadata.labels, wanted):
            owner = f"the Namespace {namespace.metadata.name}"
            expected = f"the labels {labels_text(wanted)}, which {owner} wants of APIs at {place}"
            cure = "choose another place, or have an admin change the Namespace"
            yield Mistake.expecting(expected, labels_text(api.metadata.labels), cure, field=field)


def lies_in(api: Api, name: str, namespaces: Namespaces) -> bool:
    """Whether a context or a host of the API belongs to the Namespace of this name."""
    return any(namespace.metadata.name == name for _, _, namespace in _places(api, namespaces))


def shared_places(namespace: Namespace, others: Namespaces) -> Iterator[Mistake]:
    """Contexts and hosts that another Namespace has already."""
    for other in others.values():
        if other.metadata.name == namespace.metadata.name:
            continue
        for name in ("contexts", "hosts"):
            theirs = getattr(other.spec, name)
            for index, place in enumerate(getattr(namespace.spec, name)):
                if place in theirs:
                    cure = f"leave it out, or take it out of {other.metadata.name} first"
                    got = f"{place}, which the Namespace {other.metadata.name} has"
                    field = f"spec.{name}[{index}]"
                    yield Mistake.expecting("what no other Namespace has", got, cure, field=field)


def _places(api: Api, namespaces: Namespaces) -> Iterator[tuple[str, str, Namespace]]:
    """Field, place and Namespace of each that the API lies in."""
    context = context_of(api.spec.context, api.spec.version)
    yield from _of_path("spec.context", context, namespaces)
    for index, operation in enumerate(api.spec.operations):
        path = f"{context.rstrip('/')}{operation.path}"
        for field, top, namespace in _of_path(f"spec.operations[{index}].path", path, namespaces):
            if not is_below(context, top):
                yield field, top, namespace
    for index, host in enumerate(api.spec.hosts):
        yield from _of_host(f"spec.hosts[{index}]", host, namespaces)


def _of_path(field: str, path: str, namespaces: Namespaces) -> Iterator[tuple[str, str, Namespace]]:
    """The Namespace with the longest context above the path."""
    above = [
        (top, namespace) for namespace in namespaces.values() for top in namespace.spec.contexts if is_below(path, top)
    ]
    if above:
        yield (field, *max(above, key=lambda pair: len(pair[0])))


def _of_host(field: str, host: str, namespaces: Namespaces) -> Iterator[tuple[str, str, Namespace]]:
    """The Namespace with the narrowest host that covers this one, and all with hosts that this pattern covers."""
    owned = [(pattern, namespace) for namespace in namespaces.values() for pattern in namespace.spec.hosts]
    covering = [pair for pair in owned if covers_host(pair[0], host)]
    if covering:
        yield (field, *max(covering, key=lambda pair: len(pair[0])))
    yield from ((field, *pair) for pair in owned if pair not in covering and covers_host(host, pair[0]))
