"""policy-definition.yaml: what builder and controller alike hold it to, the SDK's grammar and right JSON Schemas."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gatewright.definition import definition_mistakes

from gatewright_documents.document import Document
from gatewright_documents.mistake import Mistake
from gatewright_documents.schema_check import schema_mistakes

SCHEMA_FIELDS = ("parameters", "systemParameters")


def mistakes_in_definition(document: Document, show: Callable[[object], str] | None = None) -> Iterator[Mistake]:
    """All that keeps a document from being a policy's definition, with lines and cures.

    show: a value for "got …", where some values are not for everybody's eyes.
    """
    for mistake in definition_mistakes(document.value):
        got = show(mistake.value) if show and not mistake.words else mistake.got
        yield document.mistake(mistake.path, mistake.expected, got, mistake.cure)
    if isinstance(document.value, dict):
        for name in SCHEMA_FIELDS:
            if isinstance(schema := document.value.get(name), dict):
                yield from map(document.located, schema_mistakes(schema, name))
