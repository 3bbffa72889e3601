"""What an API's context and operations say together: contexts of one API each, and routes that differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gatewright_documents.mistake import Mistake

from gatewright_controller.paths import PathSyntaxError, PathTemplate, check_context, context_of, parse_path
from gatewright_controller.validation.draft import Draft, DraftOperation


def check_context_of(draft: Draft, contexts: Mapping[str, str]) -> Iterator[Mistake]:
    """`contexts`: those of the other APIs, each with its API's name."""
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


def check_operations(draft: Draft) -> Iterator[Mistake]:
    """Paths that can be read, and each route once."""
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
