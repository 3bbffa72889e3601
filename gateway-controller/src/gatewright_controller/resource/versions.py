"""Which exact version of a policy each attachment of an API runs.

A publisher asks for `v1` or for `v1.2.3`. `v1` becomes the newest v1.x.y when the API is written, and stays what it
became as long as the build has that version; after that it is the newest v1.x.y that takes the attachment's parameters.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from gatewright_controller.model import Api, PolicyAttachment
from gatewright_controller.resource.definitions import Definition, Definitions

Versions = tuple[str, ...]
"""An exact version for each attachment of an API, in the order of `attachments`."""


class Move(msgspec.Struct, frozen=True):
    """An attachment that has got another version than it had, since the build no longer has that one as it was."""

    api: str
    field: str
    policy: str
    before: str
    after: str


def attachments(api: Api) -> Iterator[tuple[str, PolicyAttachment]]:
    """Each with its field: the API's own, then each operation's."""
    for index, policy in enumerate(api.spec.policies):
        yield f"spec.policies[{index}]", policy
    for number, operation in enumerate(api.spec.operations):
        for index, policy in enumerate(operation.policies):
            yield f"spec.operations[{number}].policies[{index}]", policy


def with_exact_versions(api: Api, versions: Versions) -> Api:
    """The API with these versions in place of those that it asks for."""
    left = iter(versions)

    def pin(policies: list[PolicyAttachment]) -> list[PolicyAttachment]:
        return [msgspec.structs.replace(policy, version=next(left)) for policy in policies]

    own = pin(api.spec.policies)
    operations = [
        msgspec.structs.replace(operation, policies=pin(operation.policies)) for operation in api.spec.operations
    ]
    spec = msgspec.structs.replace(api.spec, policies=own, operations=operations)
    return msgspec.structs.replace(api, spec=spec)


def newest_versions(api: Api, definitions: Definitions) -> Versions:
    """What a valid API gets when it is written."""
    return tuple(definitions.resolve(attachment.name, attachment.version).version for _, attachment in attachments(api))


def kept_versions(api: Api, present: Versions, definitions: Definitions) -> Versions:
    """What an API that was written before has in a build. Where nothing fits, what explains best why not."""
    pairs = zip(attachments(api), present, strict=True)
    return tuple(_kept(attachment, version, definitions) for (_, attachment), version in pairs)


def moves(api: Api, before: Versions, after: Versions) -> list[Move]:
    """The attachments whose versions differ between two choices for the same API."""
    triples = zip(attachments(api), before, after, strict=True)
    return [
        Move(api.metadata.name, field, attachment.name, old, new)
        for (field, attachment), old, new in triples
        if old != new
    ]


def _kept(asked: PolicyAttachment, present: str, definitions: Definitions) -> str:
    matching = definitions.matching(asked.name, asked.version)
    options = sorted(
        matching, key=lambda definition: definition.version == present, reverse=True
    )  # the others stay, newest first
    fitting = next((definition for definition in options if _takes(definition, asked)), options[0] if options else None)
    return fitting.version if fitting else asked.version


def _takes(definition: Definition, asked: PolicyAttachment) -> bool:
    filled = definition.parameters.with_defaults(asked.params)
    return not any(definition.parameters.parameter_mistakes(filled, ""))
