"""Which APIs a request may be for, and whether policies may run for it, by its method and path.

Never no where they do.
"""

from __future__ import annotations

from collections.abc import Iterable

from gatewright_controller.model import Operation
from gatewright_controller.resource.paths import PathSyntaxError, PathTemplate, is_below, parse_path
from gatewright_controller.store import StoredApi


def may_run_policies(apis: Iterable[StoredApi], method: str, path: str) -> bool:
    """Of the APIs that there are: one with policies takes the method at this path. path: without the query."""
    try:
        request = parse_path(path)
    except PathSyntaxError:  # another spelling: Envoy makes a plain one of it, or refuses it
        return True
    return any(
        _takes(operation, method) and _covers(stored.context, operation.path, request)
        for stored in apis
        if is_below(path, stored.context)
        for operation in stored.api.spec.operations
        if stored.api.spec.policies or operation.policies
    )


def apis_on_path(apis: Iterable[StoredApi], path: str) -> list[StoredApi]:
    """Those with the longest context that the path is below, on whichever hosts; none for a path that Envoy may read as
    another one. path: without the query."""
    try:
        parse_path(path)
    except PathSyntaxError:
        return []
    found = [stored for stored in apis if is_below(path, stored.context)]
    longest = max((len(stored.context) for stored in found), default=0)
    return [stored for stored in found if len(stored.context) == longest]


def _takes(operation: Operation, method: str) -> bool:
    """GET answers HEAD; OPTIONS may be a browser's question about any method."""
    return operation.method in (method, "*") or method in ("HEAD", "OPTIONS")


def _covers(context: str, path: str, request: PathTemplate) -> bool:
    template = parse_path(f"{context.rstrip('/')}{path}" if path != "/" else context)
    others = [slashed for slashed in (template.slashed,) if slashed is not None]
    return any(candidate.covers(request) for candidate in (template, *others))
