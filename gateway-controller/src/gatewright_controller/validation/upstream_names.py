"""Parameters of policies that name an upstream, where a definition says `format: upstream`: the API has it."""

from __future__ import annotations

from collections.abc import Iterator

from gatewright_documents.mistake import Mistake, format_path, shown

from gatewright_controller.resource.definitions import Definitions, UnknownPolicyError
from gatewright_controller.validation.draft import Draft, DraftPolicy

UPSTREAM_FORMAT = "upstream"


def check_upstream_names(draft: Draft, definitions: Definitions) -> Iterator[Mistake]:
    """Each name of an upstream that the API does not have; a request that is sent there would fail."""
    known = sorted(upstream.name for upstream in draft.upstreams)
    for policy in [*draft.policies, *(policy for operation in draft.operations for policy in operation.policies)]:
        for field, name in _named(policy, definitions):
            if name not in known:
                yield _unknown(name, known, field)


def _unknown(name: str, known: list[str], field: str) -> Mistake:
    if not known:
        return Mistake.expecting("none: the API has no upstreams", shown(name), "remove the policy", field=field)
    expected = f"one of the API's upstreams ({', '.join(known)})"
    return Mistake.expecting(expected, shown(name), f"name one of them, or add {name!r} to spec.upstream", field=field)


def _named(policy: DraftPolicy, definitions: Definitions) -> Iterator[tuple[str, str]]:
    if policy.attachment is None or not policy.readable:
        return
    try:
        parameters = definitions.resolve(policy.attachment.name, policy.attachment.version).parameters
    except UnknownPolicyError:  # which is said elsewhere
        return
    if parameters.has_format(UPSTREAM_FORMAT):
        params = parameters.with_defaults(policy.attachment.params)
        for path, name in parameters.texts(params, UPSTREAM_FORMAT):
            yield format_path(path, f"{policy.field}.params"), name
