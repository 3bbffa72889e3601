"""policy-definition.yaml: what a policy says of itself, checked as strictly as the gateway will hold it to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gatewright.definition import PolicyDefinition, definition_digest
from gatewright_documents.document import Document
from gatewright_documents.mistake import Mistake
from gatewright_documents.policy_definition import mistakes_in_definition
from gatewright_documents.values import JsonObject

from gatewright_builder.author_file import read_author_file
from gatewright_builder.mistake import BuildError, refuse_if_any
from gatewright_builder.redaction import shown_redacted
from gatewright_builder.sources import DEFINITION_FILE


@dataclass(frozen=True, slots=True)
class Definition:
    """A right definition: its fields, its content as the author wrote it, and the digest of that content."""

    fields: PolicyDefinition
    document: Document
    content: JsonObject
    text: bytes
    digest: str


def read_definition(folder: Path, shown: str) -> Definition:
    """Reads folder's definition; `shown` is the folder's name in mistakes. Raises BuildError with all of them."""
    path, name = folder / DEFINITION_FILE, f"{shown}/{DEFINITION_FILE}"
    if not path.is_file():
        raise BuildError([_no_definition(folder, shown, name)])
    document = read_author_file(path, name)
    content = document.value if isinstance(document.value, dict) else {}
    refuse_if_any(mistakes_in_definition(document, shown_redacted))
    fields = PolicyDefinition.from_document(content)
    return Definition(fields, document, content, document.text, definition_digest(content))


def _no_definition(folder: Path, shown: str, name: str) -> Mistake:
    if not folder.is_dir():
        return Mistake.in_file(shown, "a policy's folder", "no such folder", "correct filePath in build.yaml")
    return Mistake.in_file(
        name, "a policy's definition", "no such file", "write it: name, version, runtime, processingMode"
    )
