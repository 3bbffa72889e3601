"""An `Api` resource as YAML for a person to edit: in the usual order, with comments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gatewright_documents.values import JsonObject
from gatewright_documents.yaml_writer import scalar

from gatewright_cli.openapi.source import one_line

LONGEST_COMMENT = 160


@dataclass(frozen=True)
class Comments:
    """top: above the document. upstream: above its URL. policies: above the API's policies. operations: for each."""

    top: tuple[str, ...]
    upstream: tuple[str, ...]
    policies: tuple[str, ...]
    operations: tuple[tuple[str, ...], ...]


def api_text(document: JsonObject, comments: Comments) -> str:
    """The document with the comments, each of them one line."""
    return "".join(f"{line}\n" for line in _lines(document, comments))


def _lines(document: JsonObject, comments: Comments) -> Iterator[str]:
    spec = document["spec"]
    yield from comment_lines(comments.top, "")
    yield f"apiVersion: {scalar(document['apiVersion'])}"
    yield f"kind: {scalar(document['kind'])}"
    yield f"metadata: {{name: {scalar(document['metadata']['name'], quoted=True)}}}"
    yield "spec:"
    for key in ("displayName", "version", "context"):
        yield f"  {key}: {scalar(spec[key])}"
    yield "  upstream:"
    yield "    main:"
    yield from comment_lines(comments.upstream, "      ")
    yield f"      url: {scalar(spec['upstream']['main']['url'])}"
    if "strictPaths" in spec:
        yield f"  strictPaths: {scalar(spec['strictPaths'])}"
    if comments.policies:
        yield from comment_lines(comments.policies, "  ")
        yield "  policies: []"
    yield "  operations:"
    for operation, texts in zip(spec["operations"], comments.operations, strict=True):
        yield from comment_lines(texts, "    ")
        yield f"    - method: {scalar(operation['method'])}"
        yield f"      path: {scalar(operation['path'])}"


def comment_lines(texts: Iterable[str], indent: str) -> Iterator[str]:
    """Each text as a comment of one line, cut where it is long."""
    for text in texts:
        line = one_line(text)
        cut = line if len(line) <= LONGEST_COMMENT else f"{line[: LONGEST_COMMENT - 1]}…"
        yield f"{indent}# {cut}"
