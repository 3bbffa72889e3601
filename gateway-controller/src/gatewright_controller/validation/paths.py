"""What an API's context and operations say together: contexts of one API each, and routes that differ."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gatewright_documents.mistake import Mistake

from gatewright_controller.resource.paths import PathSyntaxError, PathTemplate, check_context, context_of, parse_path
from gatewright_controller.validation.draft import Draft, DraftOperation
from gatewright_controller.validation.hosts import Claims, check_claims
from gatewright_controller.validation.matches import check_matches, check_method, check_reach

COLON_PARAMETER = re.compile(r":([A-Za-z_][A-Za-z0-9_-]*)[^/]*")


def check_context_of(draft: Draft, claims: Claims) -> Iterator[Mistake]:
    """`claims`: those of the other APIs."""
    if draft.context is None:
        return
    try:
        check_context(draft.context, draft.version or "v1")
    except PathSyntaxError as error:
        yield Mistake("spec.context", str(error))
        return
    if draft.version is not None:
        yield from check_claims(draft, context_of(draft.context, draft.version), claims)


def check_operations(draft: Draft) -> Iterator[Mistake]:
    """Methods and paths that can be read, and routes that requests can meet."""
    readable: list[tuple[DraftOperation, PathTemplate]] = []
    for drafted in draft.operations:
        yield from check_method(drafted)
        yield from check_matches(drafted)
        if drafted.path is None:
            continue
        try:
            template = parse_path(drafted.path)
        except PathSyntaxError as error:
            yield Mistake(f"{drafted.field}.path", str(error))
            continue
        if draft.strict and template.doubtful:
            yield _never_asked_for(drafted, template)
        readable.append((drafted, template))
    yield from check_reach(readable, ordered=draft.ordered)


def check_new_paths(draft: Draft) -> Iterator[Mistake]:
    """No segment that other routers read as a parameter: here it would be text, which no client sends."""
    for drafted in draft.operations:
        for segment in (drafted.path or "").split("/"):
            if parameter := COLON_PARAMETER.fullmatch(segment):
                name, rest = parameter[1], segment[1:]
                cure = f"write '{{{name}}}' for a parameter, or '%3A{rest}' for this text"
                expected = f"expected no segment that begins with ':', got {segment!r} in {drafted.path!r}"
                yield Mistake(f"{drafted.field}.path", f"{expected}; {cure}")


def _never_asked_for(drafted: DraftOperation, template: PathTemplate) -> Mistake:
    expected = "expected no ';' and no doubly encoded character under strictPaths, which is the default"
    cure = "such requests are refused; say strictPaths: false, or change the path"
    return Mistake(f"{drafted.field}.path", f"{expected}, got {template.doubtful!r} in {drafted.path!r}; {cure}")
