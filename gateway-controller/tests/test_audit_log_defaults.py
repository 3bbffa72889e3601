"""The policy audit-log does not read the Gateway: its default redaction repeats the Gateway's list, word for word."""

from __future__ import annotations

from pathlib import Path

from gatewright_controller.model.redaction import DEFAULT_HEADERS
from gatewright_documents.document import read_file

DEFINITION = Path(__file__).parents[2] / "policies" / "audit-log" / "policy-definition.yaml"


def test_it_redacts_the_headers_that_a_gateway_does() -> None:
    document = read_file(DEFINITION, DEFINITION.name).value
    assert isinstance(document, dict)
    operator = document["systemParameters"]["properties"]
    assert operator["redactedHeaders"]["default"] == [*DEFAULT_HEADERS]
