"""Attachments to policy instances and chains, each named by its content."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from gatewright.definition import BodyMode, EncodedBodies, HeaderMode, ProcessingModeConfig
from gatewright_documents.values import JsonValue
from msgspec import UNSET

from gatewright_controller._gen import node_pb2
from gatewright_controller.model import Api, PolicyAttachment, milliseconds
from gatewright_controller.resource.definitions import Definition, Definitions
from gatewright_controller.resource.paths import context_of
from gatewright_controller.translate.identity import canonical, digest_of
from gatewright_controller.translate.pools import MAIN

ON_ERROR = {"fail": node_pb2.ON_ERROR_FAIL, "continue": node_pb2.ON_ERROR_CONTINUE}
SHADOW_DIGEST = "shadow:"
"""Begins the digest of a shadow attachment's definition: an engine that does not know shadows must not apply it."""
HEADERS = {HeaderMode.SKIP: node_pb2.HEADER_MODE_SKIP, HeaderMode.PROCESS: node_pb2.HEADER_MODE_PROCESS}
BODIES = {
    BodyMode.SKIP: node_pb2.BODY_MODE_SKIP,
    BodyMode.BUFFER: node_pb2.BODY_MODE_BUFFER,
    BodyMode.STREAM: node_pb2.BODY_MODE_STREAM,
}
BODY_NAMES = {mode: name.value for name, mode in BODIES.items()}
ENCODED = {
    EncodedBodies.REFUSE: node_pb2.ENCODED_BODIES_REFUSE,
    EncodedBodies.PASS: node_pb2.ENCODED_BODIES_PASS,
    EncodedBodies.DECODE: node_pb2.ENCODED_BODIES_DECODE,
}


class Attached(NamedTuple):
    """An attachment as nodes are sent it. content: what its chains are named by."""

    message: node_pb2.Attachment
    content: JsonValue


def attach(api: Api, level: str, policies: Sequence[PolicyAttachment], definitions: Definitions) -> list[Attached]:
    """The level's attachments in order. `level` is "" for the API's own, or an operation such as "GET /{id}".

    An instance's id says nothing of its neighbours, so an edit elsewhere leaves it, and what it counts, alone;
    of two equal attachments at one level the second has an id of its own.
    """
    seen: Counter[str] = Counter()
    attachments = []
    for policy in policies:
        attachment = _attachment(policy, definitions.resolve(policy.name, policy.version))
        attachment.operation = level
        content = _content(attachment)
        digest = digest_of([api.metadata.name, api.spec.version, level, content])
        attachment.instance = digest_of([digest, seen[digest]])
        seen[digest] += 1
        attachments.append(Attached(attachment, [attachment.instance, content]))
    return attachments


def _attachment(policy: PolicyAttachment, definition: Definition) -> node_pb2.Attachment:
    on_error = policy.on_error
    by_class = {} if isinstance(on_error, str) else on_error.named()
    shadow = policy.mode == "shadow"
    return node_pb2.Attachment(
        policy_name=definition.name,
        policy_version=definition.version,
        definition_digest=f"{SHADOW_DIGEST}{definition.digest}" if shadow else definition.digest,
        shadow=shadow,
        parameters=canonical(definition.parameters.for_nodes(definition.parameters.with_defaults(policy.params))),
        system_parameters=canonical(definition.system_parameters),
        processing_mode=_mode(definition.policy.processing_mode),
        timeout_ms=milliseconds(policy.timeout),
        on_error=ON_ERROR[on_error if isinstance(on_error, str) else "fail"],
        on_error_by_class={name: ON_ERROR[choice] for name, choice in by_class.items()},
        max_concurrency=0 if policy.max_concurrency is UNSET else policy.max_concurrency,
        max_body_bytes=policy.max_body_bytes,
        stream_idle_timeout_ms=0 if policy.stream_idle_timeout is UNSET else milliseconds(policy.stream_idle_timeout),
        when="" if policy.when is UNSET else policy.when,
    )


def _content(attachment: node_pb2.Attachment) -> JsonValue:
    return [
        attachment.policy_name,
        attachment.policy_version,
        attachment.definition_digest,
        attachment.parameters.decode(),
        attachment.system_parameters.decode(),
        attachment.timeout_ms,
        attachment.on_error,
        sorted(attachment.on_error_by_class.items()),
        attachment.max_concurrency,
        attachment.max_body_bytes,
        *filter(None, [attachment.stream_idle_timeout_ms]),  # an unset one changes no chain's id
        *(["DECODE"] if _decodes(attachment.processing_mode) else []),
        *([["when", attachment.when]] if attachment.when else []),
    ]


def _decodes(mode: node_pb2.ProcessingMode) -> bool:
    """Whether bodies are decoded for it. A release before this refused them, from the same definition."""
    wants = max(mode.request_body, mode.response_body) > node_pb2.BODY_MODE_SKIP
    return wants and mode.encoded_bodies == node_pb2.ENCODED_BODIES_DECODE


def chain(
    api: Api,
    operation: str,
    attachments: Sequence[Attached],
    upstream_paths: Sequence[node_pb2.UpstreamPath] = (),
    *,
    failover: bool = False,
) -> node_pb2.Chain:
    """The operation's chain. Its id holds all that it is made of: API, context, operation, every instance with all that
    these hold, whether responses may be encoded, the pools that policies may choose, the paths that these get, and how
    policies see those of clients."""
    context = context_of(api.spec.context, api.spec.version)
    upstreams = sorted(api.spec.upstreams) if api.spec.policies_choose_upstream else []
    content: list[JsonValue] = [
        api.metadata.name,
        context,
        operation,
        [attached.content for attached in attachments],
        *(["encodedResponses"] if api.spec.encoded_responses else []),
        *([["upstreams", *upstreams]] if upstreams != [MAIN] else []),  # one that is always there changes no chain's id
        *(["failover"] if failover else []),
        *([] if api.spec.strict_paths else ["loosePaths"]),
        ["paths", *([path.upstream, path.base, path.pattern, path.substitution] for path in upstream_paths)],
    ]
    return node_pb2.Chain(
        id=digest_of(content),
        encoded_responses=api.spec.encoded_responses,
        operation=operation,
        attachments=(attached.message for attached in attachments),
        processing_mode=_union([attached.message.processing_mode for attached in attachments]),
        upstreams=upstreams,
        upstream_paths=upstream_paths,
        failover=failover,
    )


def _mode(mode: ProcessingModeConfig) -> node_pb2.ProcessingMode:
    return node_pb2.ProcessingMode(
        request_headers=HEADERS[mode.request_header_mode],
        request_body=BODIES[mode.request_body_mode],
        response_headers=HEADERS[mode.response_header_mode],
        response_body=BODIES[mode.response_body_mode],
        request_body_in_response=mode.request_body_in_response,
        encoded_bodies=ENCODED[mode.encoded_bodies],
    )


def _union(modes: Sequence[node_pb2.ProcessingMode]) -> node_pb2.ProcessingMode:
    """A body that one buffers and another streams is streamed to the front end: it can be buffered from there."""
    return node_pb2.ProcessingMode(
        request_headers=max(mode.request_headers for mode in modes),
        request_body=max(mode.request_body for mode in modes),
        response_headers=max(mode.response_headers for mode in modes),
        response_body=max(mode.response_body for mode in modes),
    )


def goes_on_when_crashed(chain: node_pb2.Chain) -> bool:
    """Whether every attachment that is applied says `continue` for `crashed`: then Envoy may go on without the engine.

    Never where a body is streamed: what the engine has read of it would be lost.
    """
    mode = chain.processing_mode
    if node_pb2.BODY_MODE_STREAM in (mode.request_body, mode.response_body):
        return False
    on_error = (
        attachment.on_error_by_class.get("crashed", attachment.on_error)
        for attachment in chain.attachments
        if not attachment.shadow
    )
    return all(choice == node_pb2.ON_ERROR_CONTINUE for choice in on_error)


def bodies_wanted(chain: node_pb2.Chain) -> list[str]:
    """Which bodies its policies want, for people: "mask:v1.0.0 (requestBodyMode: BUFFER)"."""
    wanted = []
    for attachment in chain.attachments:
        modes = {
            "requestBodyMode": attachment.processing_mode.request_body,
            "responseBodyMode": attachment.processing_mode.response_body,
        }
        bodies = [f"{name}: {BODY_NAMES[mode]}" for name, mode in modes.items() if mode > node_pb2.BODY_MODE_SKIP]
        if bodies:
            wanted.append(f"{attachment.policy_name}:{attachment.policy_version} ({', '.join(bodies)})")
    return wanted
