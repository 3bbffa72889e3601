"""Everything that a publisher can get wrong in an API, all at once, each mistake with its field.

`validate` looks at a document twice: first at its structure, against the schema of `model.Api`; then at what the
values mean, wherever the structure allows a look.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import msgspec
from gatewright_documents.mistake import Invalid, Mistake
from gatewright_documents.strict import mistakes_of
from gatewright_documents.values import JsonObject

from gatewright_controller import model
from gatewright_controller.model import Api
from gatewright_controller.resource.conditions import Conditions
from gatewright_controller.resource.definitions import Definitions
from gatewright_controller.resource.private_upstreams import PrivateUpstreams
from gatewright_controller.validation.attached import check_attached
from gatewright_controller.validation.draft import Draft
from gatewright_controller.validation.hosts import Claims, check_hosts, claimed_by, context_taken
from gatewright_controller.validation.listeners import GatewayNames, check_listeners
from gatewright_controller.validation.paths import check_context_of, check_new_paths, check_operations
from gatewright_controller.validation.policies import check_chains, check_conditions, check_idle_timeouts, check_policy
from gatewright_controller.validation.routing import check_routing
from gatewright_controller.validation.secret_references import SecretKeys, check_secrets
from gatewright_controller.validation.upstream_names import check_upstream_names
from gatewright_controller.validation.upstreams import check_upstreams, names_private_upstream

__all__ = [
    "NO_CONDITIONS",
    "NO_PRIVATE_UPSTREAMS",
    "Claims",
    "GatewayNames",
    "SecretKeys",
    "claimed_by",
    "context_taken",
    "names_private_upstream",
    "validate",
]

NO_PRIVATE_UPSTREAMS = PrivateUpstreams()
NO_CONDITIONS = Conditions()
MOST_MISTAKES = 100


def validate(
    document: JsonObject,
    definitions: Definitions,
    claims: Claims,
    upstreams: PrivateUpstreams = NO_PRIVATE_UPSTREAMS,
    names: GatewayNames | None = None,
    conditions: Conditions = NO_CONDITIONS,
    *,
    is_written: bool = False,
    secrets: SecretKeys | None = None,
) -> Api:
    """The API that the document says. `claims`: those of the other APIs. `names`: what the Gateway names, None where
    it is not known; then nodes check it. `conditions`: checks them. is_written: refuses what former releases have
    taken, and what is stored may have. secrets: the keys of the controller's; without it nodes check them.

    Raises `Invalid` with every mistake, or MOST_MISTAKES of them.
    """
    draft, api = Draft.of(document), _converted(document)
    found = itertools.chain(
        mistakes_of(Api, document, is_converted=api is not None),
        _meaning(draft, definitions, claims, (upstreams, names)),
        check_conditions(draft, definitions, conditions),
        check_new_paths(draft) if is_written else (),
        check_upstream_names(draft, definitions) if is_written else (),
        check_secrets(draft, secrets) if secrets else (),
    )
    mistakes = list(itertools.islice(found, MOST_MISTAKES))
    if next(found, None):
        mistakes.append(Mistake("", f"has more mistakes than these {MOST_MISTAKES}"))
    if mistakes:
        raise Invalid(mistakes)
    return model.from_document(document) if api is None else api


def _converted(document: JsonObject) -> Api | None:
    """None where its structure is wrong."""
    try:
        return model.from_document(document)
    except msgspec.ValidationError:
        return None


def _meaning(
    draft: Draft, definitions: Definitions, claims: Claims, known: tuple[PrivateUpstreams, GatewayNames | None]
) -> Iterator[Mistake]:
    yield from check_hosts(draft)
    yield from check_listeners(draft, known[1])
    yield from check_context_of(draft, claims)
    yield from check_upstreams(draft, *known)
    yield from check_attached(draft)
    yield from check_operations(draft)
    yield from check_routing(draft, definitions)
    for policies in (draft.policies, *(operation.policies for operation in draft.operations)):
        for policy in policies:
            yield from check_policy(policy, definitions)
    yield from check_chains(draft, definitions)
    yield from check_idle_timeouts(draft, definitions)
