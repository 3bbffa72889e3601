"""What an API says of its requests' ways: what excludes what, and names that must exist."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from gatewright.definition import BodyMode
from gatewright_documents.mistake import Mistake
from msgspec import UNSET

from gatewright_controller.model import (
    Answer,
    Mirror,
    OperationRedirect,
    Retries,
    Rewrite,
    Split,
    Upstream,
    Websocket,
    milliseconds,
)
from gatewright_controller.model.routing import retried_methods
from gatewright_controller.resource.definitions import Definitions, UnknownPolicyError
from gatewright_controller.resource.matches import ANY_METHOD
from gatewright_controller.resource.paths import Kind, PathSyntaxError, PathTemplate, parse_path
from gatewright_controller.resource.upstream import UrlError, parse_url
from gatewright_controller.validation.draft import Draft, DraftOperation, DraftPolicy, DraftRouting

GOES_UPSTREAM = ("upstream", "split", "mirror", "retries", "failover", "rewrite", "streamTimeout", "websocket")
TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}")
ENVOYS = {"connection", "content-length", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
"""Headers that say how a message is transferred."""
MOST_CHOICES = 10_000
MOST_PARAMETERS = 8
"""RE2's substitutions know nine groups; one is the wildcard's."""


def check_routing(draft: Draft, definitions: Definitions) -> Iterator[Mistake]:
    """Of the API and of each of its operations."""
    yield from _check_names(draft)
    yield from _check_main(draft)
    yield from _check_common(draft.routing, None)
    rewrite = draft.routing.get("rewrite", Rewrite)
    if rewrite and isinstance(rewrite.path, str):
        expected = "expected prefix or host for a whole API, whose operations have different paths"
        yield Mistake("spec.rewrite.path", f"{expected}, got {rewrite.path!r}; say it at the operation")
    bases = {upstream.name: base for upstream in draft.upstreams if (base := _base(upstream.upstream)) is not None}
    for operation in draft.operations:
        yield from _check_exclusions(operation.routing)
        yield from _check_common(operation.routing, operation)
        yield from _check_methods(operation)
        yield from _check_websocket(draft, operation, definitions)
        yield from _check_redirect(operation)
        yield from _check_answer(operation)
        yield from _check_mirrored(draft, operation, bases)
        yield from _check_failover(draft, operation.routing)
    yield from _check_failover(draft, draft.routing)
    yield from _check_choices(draft)


def _check_failover(draft: Draft, routing: DraftRouting) -> Iterator[Mistake]:
    if routing.get("failover", bool) is not True:
        return
    where = f"{routing.field}.failover"
    if len(draft.upstreams) < 2:
        expected = "expected an API with two upstreams or more, between which a policy chooses an order"
        yield Mistake(where, f"{expected}, got {len(draft.upstreams)}; name another one in spec.upstream")
    if draft.routing.raw.get("policiesChooseUpstream") is False:
        yield Mistake(where, "expected no failover where policiesChooseUpstream is false, got true; remove one of them")
    if draft.routing.raw.get("mapUpstreamPaths") is True:
        expected = (
            "expected no failover where mapUpstreamPaths is true, since paths of several upstreams are not mapped"
        )
        yield Mistake(where, f"{expected}, got true; remove one of them")


def _check_common(routing: DraftRouting, operation: DraftOperation | None) -> Iterator[Mistake]:
    for pools in (_split(routing), _mirrors(routing)):
        seen: set[str] = set()
        for field, name in pools:
            if name in seen:
                yield Mistake(field, f"expected each upstream once, got {name!r} again")
            seen.add(name)
    yield from _check_split(routing)
    yield from _check_back_off(routing)
    if (rewrite := routing.get("rewrite", Rewrite)) is not None:
        yield from _check_rewrite(routing, rewrite, operation)


def _check_names(draft: Draft) -> Iterator[Mistake]:
    known = [upstream.name for upstream in draft.upstreams]
    for field, name in _named(draft):
        if known and name not in known:
            yield Mistake(field, f"expected one of spec.upstream ({', '.join(known)}), got {name!r}")


def _named(draft: Draft) -> Iterator[tuple[str, str]]:
    for routing in (draft.routing, *(operation.routing for operation in draft.operations)):
        if (name := routing.get("upstream", str)) is not None:
            yield f"{routing.field}.upstream", name
        yield from _split(routing)
        yield from _mirrors(routing)


def _split(routing: DraftRouting) -> list[tuple[str, str]]:
    """Pools, each with its field."""
    items = enumerate(routing.items("split", Split))
    named = ((f"{routing.field}.split[{index}].upstream", split.upstream) for index, split in items)
    return [(field, name) for field, name in named if isinstance(name, str)]


def _check_split(routing: DraftRouting) -> Iterator[Mistake]:
    """Each part goes to a pool, or is answered."""
    for index, split in enumerate(routing.items("split", Split)):
        where = f"{routing.field}.split[{index}]"
        if (split.upstream is UNSET) == (split.answer is UNSET):
            got = "none" if split.upstream is UNSET else "both"
            yield Mistake(where, f"expected one of upstream and answer, got {got}")
        elif isinstance(split.answer, Answer):
            yield from _check_own_answer(f"{where}.answer", split.answer)


def _mirrors(routing: DraftRouting) -> list[tuple[str, str]]:
    items = enumerate(routing.items("mirror", Mirror))
    return [(f"{routing.field}.mirror[{index}].upstream", mirror.upstream) for index, mirror in items]


def _check_main(draft: Draft) -> Iterator[Mistake]:
    """There is the pool of operations that name none."""
    names = [upstream.name for upstream in draft.upstreams]
    if not names or "main" in names or draft.routing.says("split"):
        return
    for operation in draft.operations:
        if not any(operation.routing.says(key) for key in ("upstream", "split", "redirect", "answer")):
            expected = f"expected one named main, to which {operation.method} {operation.path} goes, that names none"
            yield Mistake("spec.upstream", f"{expected}, got {', '.join(names)}")
            return


def _check_exclusions(routing: DraftRouting) -> Iterator[Mistake]:
    ends = [name for name in ("redirect", "answer") if routing.says(name)]
    if len(ends) > 1:
        yield Mistake(f"{routing.field}.answer", "expected no answer beside redirect, got both; remove one")
    for name in GOES_UPSTREAM if ends else ():
        if routing.says(name):
            expected = f"expected no {name} beside {ends[0]}, with which nothing goes upstream"
            yield Mistake(f"{routing.field}.{name}", f"{expected}, got both; remove one")
    if routing.says("upstream") and routing.says("split"):
        yield Mistake(f"{routing.field}.split", "expected no split beside upstream, got both; remove one")


def _check_back_off(routing: DraftRouting) -> Iterator[Mistake]:
    retries = routing.get("retries", Retries)
    if retries is None or not isinstance(retries.back_off.max, str):
        return
    if milliseconds(retries.back_off.max) < milliseconds(retries.back_off.base):
        expected = f"expected at least base ({retries.back_off.base})"
        yield Mistake(f"{routing.field}.retries.backOff.max", f"{expected}, got {retries.back_off.max}")


def _check_methods(operation: DraftOperation) -> Iterator[Mistake]:
    """What is said at an operation is meant for it: silence would leave its requests unrepeated."""
    retries = Retries() if operation.routing.get("retries", bool) else operation.routing.get("retries", Retries)
    if retries is None or operation.method is None:
        return
    methods = retried_methods(retries)
    if operation.method not in (ANY_METHOD, *methods):
        expected = f"expected methods with {operation.method}, whose requests may do twice what they do once"
        cure = f"say methods: [{operation.method}] if they may be sent twice"
        yield Mistake(f"{operation.field}.retries", f"{expected}, got {', '.join(methods)}; {cure}")


def _check_websocket(draft: Draft, operation: DraftOperation, definitions: Definitions) -> Iterator[Mistake]:
    routing = operation.routing
    if not routing.get("websocket", bool) and routing.get("websocket", Websocket) is None:
        return
    where = f"{operation.field}.websocket"
    if operation.method not in ("GET", ANY_METHOD, None):
        yield Mistake(where, f"expected none for {operation.method}, since a WebSocket begins as a GET; remove it")
    elif wanting := _wanting_bodies([*draft.policies, *operation.policies], definitions):
        expected = "expected none where a policy wants a body, which a WebSocket has not"
        yield Mistake(where, f"{expected}, got one with {', '.join(wanting)}; remove it or the policy")


def _wanting_bodies(policies: Sequence[DraftPolicy], definitions: Definitions) -> list[str]:
    names = []
    for policy in policies:
        if policy.attachment is None:
            continue
        try:
            definition = definitions.resolve(policy.attachment.name, policy.attachment.version)
        except UnknownPolicyError:  # which is said elsewhere
            continue
        mode = definition.policy.processing_mode
        if {mode.request_body_mode, mode.response_body_mode} != {BodyMode.SKIP}:
            names.append(definition.name)
    return names


def _check_rewrite(routing: DraftRouting, rewrite: Rewrite, operation: DraftOperation | None) -> Iterator[Mistake]:
    where = f"{routing.field}.rewrite"
    if isinstance(rewrite.path, str) and isinstance(rewrite.prefix, str):
        yield Mistake(f"{where}.prefix", "expected no prefix beside path, got both; remove one")
    if rewrite.keep_host and isinstance(rewrite.host, str):
        yield Mistake(f"{where}.keepHost", "expected no keepHost beside host, got both; remove one")
    if isinstance(rewrite.path, str) and operation is not None:
        yield from _check_target(f"{where}.path", rewrite.path, operation)
    if isinstance(rewrite.prefix, str):
        try:
            template = parse_path(rewrite.prefix)
        except PathSyntaxError as error:
            yield Mistake(f"{where}.prefix", str(error))
            return
        if any(segment.kind is not Kind.LITERAL for segment in template.segments) or template.trailing_slash:
            expected = "expected a path without parameters, '*' and slash at its end"
            yield Mistake(f"{where}.prefix", f"{expected}, got {rewrite.prefix!r}")


def _check_target(field: str, path: str, operation: DraftOperation) -> Iterator[Mistake]:
    """A path of an upstream or a redirect has parameters of the operation's own."""
    try:
        wanted, source = parse_path(path), parse_path(operation.path or "/")
    except PathSyntaxError as error:
        if not isinstance(_parsed(path), PathTemplate):
            yield Mistake(field, str(error))
        return  # else it is the operation's path, of which it is said elsewhere
    known = _parameters(source)
    for name in _parameters(wanted):
        if name not in known:
            has = ", ".join(f"{{{parameter}}}" for parameter in known) or "none"
            yield Mistake(field, f"expected parameters of {operation.path} ({has}), got '{{{name}}}' in {path!r}")
    if len(_parameters(wanted)) > MOST_PARAMETERS:
        yield Mistake(field, f"expected at most {MOST_PARAMETERS} parameters, got {len(_parameters(wanted))}")
    if wanted.ends_in_wildcard and not source.ends_in_wildcard:
        yield Mistake(field, f"expected no '*', since {operation.path} has none, got {path!r}")


def _parsed(path: str) -> PathTemplate | None:
    try:
        return parse_path(path)
    except PathSyntaxError:
        return None


def _parameters(template: PathTemplate) -> list[str]:
    return [segment.text for segment in template.segments if segment.kind is Kind.PARAMETER]


def _check_redirect(operation: DraftOperation) -> Iterator[Mistake]:
    redirect = operation.routing.get("redirect", OperationRedirect)
    if redirect is None:
        return
    where = f"{operation.field}.redirect"
    if not any(isinstance(part, str | int) for part in (redirect.scheme, redirect.host, redirect.port, redirect.path)):
        yield Mistake(where, "expected one of scheme, host, port and path at least, got none: it would lead to itself")
    if isinstance(redirect.path, str):
        yield from _check_target(f"{where}.path", redirect.path, operation)


def _check_answer(operation: DraftOperation) -> Iterator[Mistake]:
    answer = operation.routing.get("answer", Answer)
    if answer is None:
        return
    yield from _check_own_answer(f"{operation.field}.answer", answer)


def _check_own_answer(field: str, answer: Answer) -> Iterator[Mistake]:
    seen: set[str] = set()
    for name in answer.headers:
        where = f"{field}.headers.{name}"
        if not TOKEN.fullmatch(name):
            yield Mistake(where, f"expected a header's name, such as 'content-type', got {name!r}")
        elif name.lower() in ENVOYS or name.lower().startswith("x-envoy-"):
            yield Mistake(where, f"expected no header that says how a message is transferred, got {name!r}; remove it")
        elif name.lower() in seen:
            yield Mistake(where, f"expected each header once, got {name!r} again")
        seen.add(name.lower())
    if answer.body and answer.status in (204, 205, 304):
        yield Mistake(f"{field}.body", f"expected none with status {answer.status}, got one; remove it")


def _check_mirrored(draft: Draft, operation: DraftOperation, bases: Mapping[str, str]) -> Iterator[Mistake]:
    """A copy has the path that the request has upstream, so the base paths are to be the same. bases: of the pools."""
    if operation.routing.says("redirect") or operation.routing.says("answer"):
        return
    routing = operation.routing if operation.routing.says("mirror") else draft.routing
    targets = _pools(draft, operation)
    reached = {*targets, *(bases if draft.policies or operation.policies else ())}
    for where, name in _mirrors(routing):
        if name in targets:
            expected = f"expected another upstream than {operation.method} {operation.path} goes to"
            yield Mistake(where, f"{expected}, got {name!r}, which would be sent requests twice")
        others = [
            upstream
            for upstream in sorted(reached & bases.keys())
            if bases[upstream] != bases.get(name, bases[upstream])
        ]
        if others:
            expected = f"expected an upstream with the base path of {others[0]} ({bases[others[0]] or 'none'})"
            got = f"{name!r}, whose base path is {bases[name] or 'none'}"
            yield Mistake(where, f"{expected}, to which {operation.method} {operation.path} may go, got {got}")


def _check_choices(draft: Draft) -> Iterator[Mistake]:
    """Each is a route of its own."""
    if draft.routing.raw.get("policiesChooseUpstream") is False:
        return
    choosing = [
        operation
        for operation in draft.operations
        if (draft.policies or operation.policies)
        and not (operation.routing.says("redirect") or operation.routing.says("answer"))
    ]
    if (count := len(choosing) * len(draft.upstreams)) > MOST_CHOICES and len(draft.upstreams) > 1:
        expected = f"expected at most {MOST_CHOICES} choices of policies, operations with policies times upstreams"
        got = f"got {len(choosing)} times {len(draft.upstreams)}, which is {count}"
        yield Mistake("spec.upstream", f"{expected}, {got}; make several APIs of it, or name fewer upstreams")


def _pools(draft: Draft, operation: DraftOperation) -> set[str]:
    for routing in (operation.routing, draft.routing):
        if (name := routing.get("upstream", str)) is not None:
            return {name}
        if routing.says("split"):
            return {name for _, name in _split(routing)}
    return {"main"}


def _base(upstream: Upstream) -> str | None:
    targets = [] if upstream.targets is UNSET else upstream.targets
    url = targets[0].url if targets else upstream.url
    try:
        return parse_url(url).base if isinstance(url, str) else None
    except UrlError:
        return None
