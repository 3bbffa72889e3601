"""A document that may be wrong anywhere: what can be read of it, with the fields where it stands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec
from gatewright_documents.values import JsonObject, JsonValue

from gatewright_controller import model
from gatewright_controller.model import HeaderMatch, PolicyAttachment, QueryMatch, Upstream, milliseconds
from gatewright_controller.model.fields import fields_of
from gatewright_controller.resource.matches import Matches, all_matches, kinds_of
from gatewright_controller.validation.values import as_list, as_object, as_text, texts_of

M = TypeVar("M", HeaderMatch, QueryMatch)
S = TypeVar("S", bound=msgspec.Struct)

T = TypeVar("T")


class DraftPolicy(msgspec.Struct, frozen=True):
    """An attachment as far as it can be read; `readable` is false where its params are no object."""

    field: str
    attachment: PolicyAttachment | None
    readable: bool


class StatedTimeout(msgspec.Struct, frozen=True):
    """A timeout, and where it stands."""

    field: str
    ms: int


class DraftTimeouts(msgspec.Struct, frozen=True):
    """None where there is none that can be read."""

    request: StatedTimeout | None
    idle: StatedTimeout | None

    def over(self, shared: DraftTimeouts) -> DraftTimeouts:
        """An operation's own, and for what it does not say the API's."""
        return DraftTimeouts(self.request or shared.request, self.idle or shared.idle)


class DraftRouting(msgspec.Struct, frozen=True):
    """What an API or an operation says of its requests' ways, as far as it can be read. field: where it stands."""

    field: str
    raw: JsonObject

    def says(self, name: str) -> bool:
        """Whether the field is there, readable or not."""
        return name in self.raw

    def get(self, name: str, kind: type[T]) -> T | None:
        """The field's value, or None where it is not there or is not of the kind."""
        return _converted(self.raw.get(name), kind)

    def items(self, name: str, kind: type[T]) -> list[T]:
        """The field's items; none unless all can be read, so that places are those of the document."""
        if name not in self.raw:
            return []
        read = [_converted(item, kind) for item in as_list(self.raw.get(name))]
        items = [item for item in read if item is not None]
        return items if len(items) == len(read) else []


def _converted(value: JsonValue, kind: type[T]) -> T | None:
    if value is None:
        return None
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return None


@dataclass(frozen=True)
class DraftMatch(Generic[M]):
    """A match, and where it stands."""

    field: str
    written: M


class DraftMatches(msgspec.Struct, frozen=True):
    """An operation's matches as far as they can be read. all: None where one of them cannot be."""

    headers: list[DraftMatch[HeaderMatch]]
    query: list[DraftMatch[QueryMatch]]
    all: Matches | None


class DraftOperation(msgspec.Struct, frozen=True):
    """An operation as far as it can be read. field: where it stands."""

    field: str
    method: str | None
    path: str | None
    policies: list[DraftPolicy]
    timeouts: DraftTimeouts
    routing: DraftRouting
    matches: DraftMatches

    @property
    def name(self) -> str:
        """`GET /items [x-version=2]`, as far as it can be read."""
        label = self.matches.all.label if self.matches.all else ""
        return " ".join(filter(None, [self.method, self.path, label]))


class DraftUpstream(msgspec.Struct, frozen=True):
    """A pool as far as it can be read. field: where it stands."""

    field: str
    name: str
    keys: frozenset[str]
    """Those that are written, whether or not they can be read."""
    upstream: Upstream
    """Without the fields that its structure refuses."""


class Draft(msgspec.Struct, frozen=True):
    """A document that may be wrong anywhere: what can be read of it, with fields."""

    context: str | None
    hosts: list[JsonValue]
    listeners: list[str]
    version: str | None
    upstreams: list[DraftUpstream]
    policies: list[DraftPolicy]
    operations: list[DraftOperation]
    timeouts: DraftTimeouts
    routing: DraftRouting
    strict: bool
    ordered: bool
    attach_to: list[str]
    has_upstream: bool
    """Whether it is written, readable or not; also where there is no spec."""

    @staticmethod
    def of(document: JsonObject) -> Draft:
        """What can be read of a document; None and empty lists where nothing can."""
        spec = as_object(document.get("spec"))
        upstreams = [_draft_upstream(name, raw) for name, raw in as_object(spec.get("upstream")).items()]
        operations = [_draft_operation(raw, index) for index, raw in enumerate(as_list(spec.get("operations")))]
        policies = _draft_policies(spec, "spec")
        version = as_text(spec.get("version"))
        timeouts = _draft_timeouts(spec, "spec")
        routing = DraftRouting("spec", {name: value for name, value in spec.items() if name != "upstream"})
        context, strict = as_text(spec.get("context")), spec.get("strictPaths") is not False
        ordered = spec.get("matching") == "ordered"
        hosts, listeners = as_list(spec.get("hosts")), texts_of(spec.get("listeners"))
        attach_to, has_upstream = texts_of(spec.get("attachTo")), "upstream" in spec or not spec
        parts = context, hosts, listeners, version, upstreams, policies, operations
        return Draft(*parts, timeouts, routing, strict, ordered, attach_to, has_upstream)


def _draft_upstream(name: str, raw: JsonValue) -> DraftUpstream:
    fields = as_object(raw)
    return DraftUpstream(f"spec.upstream.{name}", name, frozenset(fields), _readable(Upstream, fields) or Upstream())


def _draft_operation(raw: JsonValue, index: int) -> DraftOperation:
    where, fields = f"spec.operations[{index}]", as_object(raw)
    method, path = as_text(fields.get("method")), as_text(fields.get("path"))
    policies, times = _draft_policies(fields, where), _draft_timeouts(fields, where)
    routing, matches = DraftRouting(where, fields), _draft_matches(fields, where)
    return DraftOperation(where, method, path, policies, times, routing, matches)


def _draft_matches(fields: JsonObject, where: str) -> DraftMatches:
    headers = list(_converted_matches(fields.get("headers"), f"{where}.headers", HeaderMatch))
    query = list(_converted_matches(fields.get("query"), f"{where}.query", QueryMatch))
    listed = len(as_list(fields.get("headers"))) + len(as_list(fields.get("query")))
    named: list[HeaderMatch | QueryMatch] = [*(match.written for match in headers), *(match.written for match in query)]
    if len(named) < listed or any(len(kinds_of(match)) != 1 for match in named):
        return DraftMatches(headers, query, None)
    return DraftMatches(
        headers, query, all_matches([match.written for match in headers], [match.written for match in query])
    )


def _converted_matches(value: JsonValue, where: str, kind: type[M]) -> Iterator[DraftMatch[M]]:
    for index, raw in enumerate(as_list(value)):
        try:
            yield DraftMatch(f"{where}[{index}]", msgspec.convert(raw, kind))
        except msgspec.ValidationError:  # which is said elsewhere
            continue


def _draft_timeouts(fields: JsonObject, where: str) -> DraftTimeouts:
    def read(name: str) -> StatedTimeout | None:
        try:
            return StatedTimeout(f"{where}.{name}", milliseconds(msgspec.convert(fields[name], model.Timeout)))
        except (KeyError, msgspec.ValidationError):
            return None

    return DraftTimeouts(read("requestTimeout"), read("idleTimeout"))


def _draft_policies(raw: JsonObject, where: str) -> list[DraftPolicy]:
    return [
        DraftPolicy(
            f"{where}.policies[{index}]",
            _readable(PolicyAttachment, as_object(policy)),
            isinstance(as_object(policy).get("params", {}), dict),
        )
        for index, policy in enumerate(as_list(raw.get("policies")))
    ]


def _readable(kind: type[S], raw: JsonObject) -> S | None:
    """`raw` without the fields that its structure refuses, or None if it needs one of them."""
    good: dict[str, JsonValue] = {}
    for part in fields_of(kind):
        try:
            if part.encode_name in raw:
                good[part.name] = msgspec.convert(raw[part.encode_name], part.type)
        except msgspec.ValidationError:
            pass
        if part.required and part.name not in good:
            return None
    return kind(**good)
