"""What an API says of its policies, one by one and over a chain."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from gatewright_documents.mistake import Mistake, format_path, shown
from gatewright_documents.schema import UNKNOWN_KEY_CURE
from msgspec import UNSET

from gatewright_controller.model import PolicyAttachment, Retries, Websocket, milliseconds
from gatewright_controller.model.routing import retried_methods, waits_ms
from gatewright_controller.resource.conditions import Conditions
from gatewright_controller.resource.definitions import Definition, Definitions, UnknownPolicyError
from gatewright_controller.resource.secrets import mask_mistakes
from gatewright_controller.validation.draft import Draft, DraftOperation, DraftPolicy, StatedTimeout

NEW_PARAMETER_CURE = (
    f"{UNKNOWN_KEY_CURE}; for parameters of a changed policy, deploy both: `gatewright apply --reload -f FILE`"
)
CONDITION_FORMAT = "cel"
"""Of a parameter that is an expression in CEL, as `when` is one."""
CHAIN_LIMIT_MS = 60_000
"""The engine's message timeout with Envoy: a chain that may take longer would be cut off in the middle."""


def check_policy(policy: DraftPolicy, definitions: Definitions) -> Iterator[Mistake]:
    """It is known, its parameters fit its schema, its settings fit what it is."""
    if policy.attachment is None:
        return
    try:
        definition = definitions.resolve(policy.attachment.name, policy.attachment.version)
    except UnknownPolicyError as error:
        yield Mistake(f"{policy.field}.{error.field}", str(error))
        return
    if policy.readable:
        filled = definition.parameters.with_defaults(policy.attachment.params)
        for mistake in definition.parameters.parameter_mistakes(filled, f"{policy.field}.params"):
            yield _with_reload(mistake) if mistake.cure == UNKNOWN_KEY_CURE else mistake
        yield from mask_mistakes(policy.field, policy.attachment.params)
    yield from _check_mode(policy.field, policy.attachment, definition)
    yield from _check_on_error(policy.field, policy.attachment, definition)
    yield from _check_stream_idle_timeout(policy.field, policy.attachment, definition)


def _with_reload(mistake: Mistake) -> Mistake:
    """A parameter that is unknown may be one that the policy is about to get."""
    return Mistake.expecting(mistake.expected, mistake.got, NEW_PARAMETER_CURE, field=mistake.field)


def _check_mode(where: str, attachment: PolicyAttachment, definition: Definition) -> Iterator[Mistake]:
    if attachment.mode != "shadow":
        return
    mode = definition.policy.processing_mode
    if mode.streams:
        expected = f"expected enforce for {definition.name}, which streams a body (STREAM), got shadow"
        yield Mistake(f"{where}.mode", f"{expected}; a shadow has no stream to take part in")
    if mode.request_body_in_response:
        expected = f"expected enforce for {definition.name}, which has requestBodyInResponse, got shadow"
        yield Mistake(f"{where}.mode", f"{expected}; no request's body is kept for a shadow")


def check_conditions(draft: Draft, definitions: Definitions, conditions: Conditions) -> Iterator[Mistake]:
    """The engine can evaluate each `when`, and each parameter of the format `cel`. It is asked once for all of them."""
    policies = [*draft.policies, *(policy for operation in draft.operations for policy in operation.policies)]
    written = [
        condition
        for policy in policies
        if policy.attachment
        for condition in _conditions_of(policy, policy.attachment, definitions)
    ]
    for (where, _), mistake in zip(written, conditions.mistakes([text for _, text in written]), strict=True):
        if mistake:
            yield Mistake(where, str(mistake))


def _conditions_of(
    policy: DraftPolicy, attachment: PolicyAttachment, definitions: Definitions
) -> Iterator[tuple[str, str]]:
    if attachment.when is not UNSET:
        yield f"{policy.field}.when", attachment.when
    try:
        parameters = definitions.resolve(attachment.name, attachment.version).parameters
    except UnknownPolicyError:  # which is said elsewhere
        return
    if policy.readable and parameters.has_format(CONDITION_FORMAT):
        for path, text in parameters.texts(parameters.with_defaults(attachment.params), CONDITION_FORMAT):
            yield format_path(path, f"{policy.field}.params"), text


def _check_on_error(where: str, attachment: PolicyAttachment, definition: Definition) -> Iterator[Mistake]:
    if definition.policy.allow_continue:
        return
    on_error = attachment.on_error
    classes = {"": on_error} if isinstance(on_error, str) else on_error.named()
    for failure, choice in classes.items():
        if choice == "continue":
            at = f"{where}.onError.{failure}" if failure else f"{where}.onError"
            yield Mistake(at, f"expected fail, got continue; {definition.name} does not allow to go on without it")


def _check_stream_idle_timeout(where: str, attachment: PolicyAttachment, definition: Definition) -> Iterator[Mistake]:
    idle_timeout = attachment.stream_idle_timeout
    if idle_timeout is not UNSET and not definition.policy.processing_mode.streams:
        expected = (
            f"expected none for {definition.name}, of which no body mode is STREAM, got {idle_timeout!r}; remove it"
        )
        yield Mistake(f"{where}.streamIdleTimeout", expected)


def check_chains(draft: Draft, definitions: Definitions) -> Iterator[Mistake]:
    """No chain may take longer than the engine's message timeout with Envoy."""
    if _total(draft.policies, definitions) >= CHAIN_LIMIT_MS:
        yield _too_long("spec.policies", draft.policies, definitions)
        return
    for operation in draft.operations:
        policies = draft.policies + operation.policies
        if _total(policies, definitions) >= CHAIN_LIMIT_MS:
            yield _too_long(f"{operation.field}.policies", policies, definitions)


def _total(policies: list[DraftPolicy], definitions: Definitions) -> int:
    """Nothing waits for shadows."""
    attached = (policy.attachment for policy in policies)
    return sum(
        _work_ms(attachment, definitions) for attachment in attached if attachment and attachment.mode != "shadow"
    )


def _work_ms(attachment: PolicyAttachment, definitions: Definitions) -> int:
    timeout = milliseconds(attachment.timeout)
    try:
        return definitions.resolve(attachment.name, attachment.version).work_ms(timeout)
    except UnknownPolicyError:  # which is said elsewhere
        return timeout


def _too_long(where: str, policies: list[DraftPolicy], definitions: Definitions) -> Mistake:
    got = f"{_seconds(_total(policies, definitions))}, with the API's own"
    attached = [policy.attachment for policy in policies if policy.attachment and policy.attachment.mode != "shadow"]
    if twice := {
        attachment.name
        for attachment in attached
        if _work_ms(attachment, definitions) > milliseconds(attachment.timeout)
    }:
        names = " and ".join(sorted(twice))
        got += f", and that of {names} twice: it is called with the headers, and then with the stream"
    limit = f"{CHAIN_LIMIT_MS // 1000}s"
    return Mistake(where, f"expected timeouts that sum to less than {limit} over a chain, got {got}")


def check_idle_timeouts(draft: Draft, definitions: Definitions) -> Iterator[Mistake]:
    """Nothing moves while policies run and until the upstream's answer begins: that must not count as idle."""
    base, reported = _total(draft.policies, definitions), set[str]()
    for operation in draft.operations:
        timeouts = operation.timeouts.over(draft.timeouts)
        policies, upstream = base + _total(operation.policies, definitions), _upstream_time(draft, operation)
        websocket = operation.routing.get("websocket", Websocket) or draft.routing.get("websocket", Websocket)
        for idle in (timeouts.idle, _idle_of(websocket, operation, draft)):
            if idle is None or idle.ms >= policies + upstream.ms or idle.field in reported:
                continue
            reported.add(idle.field)
            parts = f"the policies' timeouts ({_seconds(policies)}){upstream.words}"
            took = f"that {parts} take for {operation.method} {operation.path}"
            yield Mistake(idle.field, f"expected at least the time {took}, got {_seconds(idle.ms)}")


class UpstreamTime(msgspec.Struct, frozen=True):
    """What an upstream may take until its answer begins, all tries together, and how a mistake says that."""

    ms: int
    words: str


def _upstream_time(draft: Draft, operation: DraftOperation) -> UpstreamTime:
    timeouts = operation.timeouts.over(draft.timeouts)
    retries = _retries(draft, operation)
    per_try = milliseconds(retries.per_try_timeout) if retries and isinstance(retries.per_try_timeout, str) else None
    attempt_ms = per_try or (timeouts.request.ms if timeouts.request else 1)
    words = f" and requestTimeout ({_seconds(attempt_ms)})" if timeouts.request and per_try is None else ""
    if not retries:
        return UpstreamTime(attempt_ms, words)
    whole = attempt_ms * retries.attempts + waits_ms(retries)
    return UpstreamTime(whole, f" and {retries.attempts} attempts ({_seconds(whole)} with their backOff)")


def _retries(draft: Draft, operation: DraftOperation) -> Retries | None:
    routing = operation.routing if operation.routing.says("retries") else draft.routing
    retries = Retries() if routing.get("retries", bool) else routing.get("retries", Retries)
    return retries if retries and operation.method in retried_methods(retries) else None


def _idle_of(websocket: Websocket | None, operation: DraftOperation, draft: Draft) -> StatedTimeout | None:
    if websocket is None or not isinstance(websocket.idle_timeout, str) or operation.method != "GET":
        return None
    place = operation if operation.routing.get("websocket", Websocket) else draft
    return StatedTimeout(f"{place.routing.field}.websocket.idleTimeout", milliseconds(websocket.idle_timeout))


def _seconds(ms: int) -> str:
    return f"{shown(ms / 1000)}s"
