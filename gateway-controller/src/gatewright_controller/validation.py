"""Everything that a publisher can get wrong in an API, all at once, each mistake with its field.

`validate` looks at a document twice: first at its structure, against the schema of `model.Api`; then at what the
values mean, wherever the structure allows a look.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import msgspec
from gatewright_documents.mistake import Invalid, Mistake, shown
from gatewright_documents.strict import mistakes_of
from gatewright_documents.values import JsonObject, JsonValue
from msgspec import UNSET

from gatewright_controller import model
from gatewright_controller.definitions import Definition, Definitions, UnknownPolicyError
from gatewright_controller.model import Api, PolicyAttachment, milliseconds
from gatewright_controller.paths import PathSyntaxError, PathTemplate, check_context, context_of, parse_path
from gatewright_controller.private_upstreams import PrivateUpstreams
from gatewright_controller.secrets import mask_mistakes
from gatewright_controller.upstream import UrlError, is_grpc, parse_url

NO_PRIVATE_UPSTREAMS = PrivateUpstreams()
MOST_MISTAKES = 100
CHAIN_LIMIT_MS = 60_000
"""The engine's message timeout with Envoy: a chain that may take longer would be cut off in the middle."""


def validate(
    document: JsonObject,
    definitions: Definitions,
    contexts: Mapping[str, str],
    upstreams: PrivateUpstreams = NO_PRIVATE_UPSTREAMS,
) -> Api:
    """The API that the document says. `contexts`: those of the other APIs, each with its API's name.

    Raises `Invalid` with every mistake, or MOST_MISTAKES of them.
    """
    draft = Draft.of(document)
    found = itertools.chain(mistakes_of(Api, document), _meaning(draft, definitions, contexts, upstreams))
    mistakes = list(itertools.islice(found, MOST_MISTAKES))
    if next(found, None):
        mistakes.append(Mistake("", f"has more mistakes than these {MOST_MISTAKES}"))
    if mistakes:
        raise Invalid(mistakes)
    return model.from_document(document)


@dataclass(frozen=True)
class DraftPolicy:
    """An attachment as far as it can be read; `readable` is false where its params are no object."""

    field: str
    attachment: PolicyAttachment | None
    readable: bool


@dataclass(frozen=True)
class StatedTimeout:
    """A timeout, and where it stands."""

    field: str
    ms: int


@dataclass(frozen=True)
class DraftTimeouts:
    """None where there is none that can be read."""

    request: StatedTimeout | None
    idle: StatedTimeout | None

    def over(self, shared: DraftTimeouts) -> DraftTimeouts:
        """An operation's own, and for what it does not say the API's."""
        return DraftTimeouts(self.request or shared.request, self.idle or shared.idle)


@dataclass(frozen=True)
class DraftOperation:
    """An operation as far as it can be read. field: where it stands."""

    field: str
    method: str | None
    path: str | None
    policies: list[DraftPolicy]
    timeouts: DraftTimeouts


@dataclass(frozen=True)
class Draft:
    """A document that may be wrong anywhere: what can be read of it, with fields."""

    context: str | None
    version: str | None
    url: str | None
    protocol: str | None
    policies: list[DraftPolicy]
    operations: list[DraftOperation]
    timeouts: DraftTimeouts
    strict: bool

    @staticmethod
    def of(document: JsonObject) -> Draft:
        """What can be read of a document; None and empty lists where nothing can."""
        spec = _object(document.get("spec"))
        main = _object(_object(spec.get("upstream")).get("main"))
        operations = [_draft_operation(raw, index) for index, raw in enumerate(_list(spec.get("operations")))]
        policies = _draft_policies(spec, "spec")
        version = _text(spec.get("version"))
        timeouts = _draft_timeouts(spec, "spec")
        context, strict = _text(spec.get("context")), spec.get("strictPaths") is not False
        url, protocol = _text(main.get("url")), _text(main.get("protocol"))
        return Draft(context, version, url, protocol, policies, operations, timeouts, strict)


def _object(value: JsonValue) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _list(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []


def _text(value: JsonValue) -> str | None:
    return value if isinstance(value, str) else None


def _draft_operation(raw: JsonValue, index: int) -> DraftOperation:
    where, given = f"spec.operations[{index}]", _object(raw)
    method, path = _text(given.get("method")), _text(given.get("path"))
    return DraftOperation(where, method, path, _draft_policies(given, where), _draft_timeouts(given, where))


def _draft_timeouts(given: JsonObject, where: str) -> DraftTimeouts:
    def read(name: str) -> StatedTimeout | None:
        try:
            return StatedTimeout(f"{where}.{name}", milliseconds(msgspec.convert(given[name], model.Timeout)))
        except (KeyError, msgspec.ValidationError):
            return None

    return DraftTimeouts(read("requestTimeout"), read("idleTimeout"))


def _draft_policies(raw: JsonObject, where: str) -> list[DraftPolicy]:
    return [
        DraftPolicy(
            f"{where}.policies[{index}]",
            _readable(_object(policy)),
            isinstance(_object(policy).get("params", {}), dict),
        )
        for index, policy in enumerate(_list(raw.get("policies")))
    ]


def _readable(raw: JsonObject) -> PolicyAttachment | None:
    """`raw` without the fields that its structure refuses, or None if it needs one of them."""
    good: dict[str, JsonValue] = {}
    for part in msgspec.structs.fields(PolicyAttachment):
        try:
            if part.encode_name in raw:
                good[part.name] = msgspec.convert(raw[part.encode_name], part.type)
        except msgspec.ValidationError:
            pass
        if part.required and part.name not in good:
            return None
    return PolicyAttachment(**good)


def _meaning(
    draft: Draft, definitions: Definitions, contexts: Mapping[str, str], upstreams: PrivateUpstreams
) -> Iterator[Mistake]:
    yield from _check_context(draft, contexts)
    yield from _check_upstream(draft, upstreams)
    yield from _check_operations(draft)
    for policies in (draft.policies, *(operation.policies for operation in draft.operations)):
        for policy in policies:
            yield from _check_policy(policy, definitions)
    yield from _check_chains(draft, definitions)
    yield from _check_idle_timeouts(draft, definitions)


def _check_context(draft: Draft, contexts: Mapping[str, str]) -> Iterator[Mistake]:
    if draft.context is None:
        return
    try:
        check_context(draft.context, draft.version or "v1")
    except PathSyntaxError as error:
        yield Mistake("spec.context", str(error))
        return
    resolved = context_of(draft.context, draft.version or "v1")
    if resolved in contexts and draft.version is not None:
        yield context_taken(resolved, contexts[resolved])


def context_taken(context: str, api: str) -> Mistake:
    """Two APIs at one context: which one a request meets would be chance."""
    return Mistake("spec.context", f"expected a context that no other API has, got {context!r}, which is {api}'s")


def _check_upstream(draft: Draft, upstreams: PrivateUpstreams) -> Iterator[Mistake]:
    if draft.url is None:
        return
    try:
        refusal = upstreams.refusal(parse_url(draft.url))
    except UrlError as error:
        refusal = str(error)
    if refusal:
        yield Mistake("spec.upstream.main.url", refusal)
    elif is_grpc(draft.url) and draft.protocol in ("http1", "auto"):
        cure = "remove it, or write http:// or https://"
        got = f"got {draft.protocol!r} with {draft.url!r}"
        yield Mistake("spec.upstream.main.protocol", f"expected http2 with a grpc:// or grpcs:// URL, {got}; {cure}")


def _check_operations(draft: Draft) -> Iterator[Mistake]:
    first: dict[tuple[str, PathTemplate], DraftOperation] = {}
    for drafted in draft.operations:
        if drafted.path is None:
            continue
        try:
            template = parse_path(drafted.path)
        except PathSyntaxError as error:
            yield Mistake(f"{drafted.field}.path", str(error))
            continue
        if draft.strict and template.doubtful:
            yield _never_asked_for(drafted, template)
        earlier = first.setdefault((drafted.method or drafted.field, template.shape), drafted)
        if earlier is not drafted:
            route = f"{drafted.method} {drafted.path}"
            yield Mistake(drafted.field, f"expected each route once, got {route}, which {earlier.field} has already")


def _never_asked_for(drafted: DraftOperation, template: PathTemplate) -> Mistake:
    expected = "expected no ';' and no doubly encoded character under strictPaths, which is the default"
    cure = "such requests are refused; say strictPaths: false, or change the path"
    return Mistake(f"{drafted.field}.path", f"{expected}, got {template.doubtful!r} in {drafted.path!r}; {cure}")


def _check_policy(policy: DraftPolicy, definitions: Definitions) -> Iterator[Mistake]:
    if policy.attachment is None:
        return
    try:
        definition = definitions.resolve(policy.attachment.name, policy.attachment.version)
    except UnknownPolicyError as error:
        yield Mistake(f"{policy.field}.{error.field}", str(error))
        return
    if policy.readable:
        filled = definition.parameters.with_defaults(policy.attachment.params)
        yield from definition.parameters.mistakes(filled, f"{policy.field}.params")
        yield from mask_mistakes(policy.field, policy.attachment.params)
    yield from _check_on_error(policy.field, policy.attachment, definition)
    yield from _check_stream_idle_timeout(policy.field, policy.attachment, definition)


def _check_on_error(where: str, attachment: PolicyAttachment, definition: Definition) -> Iterator[Mistake]:
    if definition.policy.allow_continue:
        return
    on_error = attachment.on_error
    said = {"": on_error} if isinstance(on_error, str) else on_error.named()
    for failure, choice in said.items():
        if choice == "continue":
            at = f"{where}.onError.{failure}" if failure else f"{where}.onError"
            yield Mistake(at, f"expected fail, got continue; {definition.name} does not allow to go on without it")


def _check_stream_idle_timeout(where: str, attachment: PolicyAttachment, definition: Definition) -> Iterator[Mistake]:
    said = attachment.stream_idle_timeout
    if said is not UNSET and not definition.policy.processing_mode.streams:
        expected = f"expected none for {definition.name}, of which no body mode is STREAM, got {said!r}; remove it"
        yield Mistake(f"{where}.streamIdleTimeout", expected)


def _check_chains(draft: Draft, definitions: Definitions) -> Iterator[Mistake]:
    if _total(draft.policies, definitions) >= CHAIN_LIMIT_MS:
        yield _too_long("spec.policies", draft.policies, definitions)
        return
    for operation in draft.operations:
        policies = draft.policies + operation.policies
        if _total(policies, definitions) >= CHAIN_LIMIT_MS:
            yield _too_long(f"{operation.field}.policies", policies, definitions)


def _total(policies: list[DraftPolicy], definitions: Definitions) -> int:
    return sum(_work_ms(policy.attachment, definitions) for policy in policies if policy.attachment)


def _work_ms(attachment: PolicyAttachment, definitions: Definitions) -> int:
    timeout = milliseconds(attachment.timeout)
    try:
        return definitions.resolve(attachment.name, attachment.version).work_ms(timeout)
    except UnknownPolicyError:  # which is said elsewhere
        return timeout


def _too_long(where: str, policies: list[DraftPolicy], definitions: Definitions) -> Mistake:
    got = f"{_seconds(_total(policies, definitions))}, with the API's own"
    attached = [policy.attachment for policy in policies if policy.attachment]
    if twice := {one.name for one in attached if _work_ms(one, definitions) > milliseconds(one.timeout)}:
        names = " and ".join(sorted(twice))
        got += f", and that of {names} twice: it is called with the headers, and then with the stream"
    limit = f"{CHAIN_LIMIT_MS // 1000}s"
    return Mistake(where, f"expected timeouts that sum to less than {limit} over a chain, got {got}")


def _check_idle_timeouts(draft: Draft, definitions: Definitions) -> Iterator[Mistake]:
    """Nothing moves while policies run and until the upstream's answer begins: that must not count as idle."""
    base, told = _total(draft.policies, definitions), set[str]()
    for operation in draft.operations:
        said = operation.timeouts.over(draft.timeouts)
        policies, request = base + _total(operation.policies, definitions), said.request.ms if said.request else 1
        if said.idle is None or said.idle.ms >= policies + request or said.idle.field in told:
            continue
        told.add(said.idle.field)
        parts = f"the policies' timeouts ({_seconds(policies)})"
        if said.request:
            parts += f" and requestTimeout ({_seconds(request)})"
        yield Mistake(
            said.idle.field,
            f"expected at least the time that {parts} take for {operation.method} {operation.path}, "
            f"got {_seconds(said.idle.ms)}",
        )


def _seconds(ms: int) -> str:
    return f"{shown(ms / 1000)}s"
