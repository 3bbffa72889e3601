from __future__ import annotations

import pytest
from gatewright_documents.document import read_document
from gatewright_documents.policy_definition import mistakes_in_definition

PLAIN = "name: plain\nversion: v1.0.0\nruntime: python\nprocessingMode:\n  requestHeaderMode: PROCESS\n"


def mistakes(text: str) -> list[str]:
    return [str(mistake) for mistake in mistakes_in_definition(read_document(text.encode(), "p.yaml"))]


def test_a_right_one_has_none() -> None:
    assert mistakes(PLAIN + "parameters: {properties: {a: {type: integer, default: 1}}}\n") == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "p.yaml:1: expected a mapping with name, version, runtime, processingMode, "),
        (PLAIN.replace("plain", "7th"), "p.yaml:1: name: expected a policy name: "),
        (PLAIN.replace("PROCESS", "BUFFER"), "p.yaml:5: processingMode.requestHeaderMode: expected SKIP or PROCESS"),
        (PLAIN + "files:\n  read: [a]\n", "p.yaml:7: files.read[0]: expected an absolute path"),
        (PLAIN + "parameters:\n  type: array\n", "p.yaml:7: parameters.type: expected object, got type: array; write"),
        (
            PLAIN + "parameters:\n  properties:\n    a: {type: interger}\n",
            "p.yaml:8: parameters.properties.a.type: expected one or a list of array, boolean, ",
        ),
        (
            PLAIN + "systemParameters:\n  properties:\n    a:\n      type: integer\n      default: x\n",
            "p.yaml:10: systemParameters.properties.a.default: expected a default that its own schema takes, got ",
        ),
        (
            PLAIN + "parameters: {$ref: 'https://example.com/x'}\n",
            "p.yaml:6: parameters: expected a JSON Schema 2020-12",
        ),
        (PLAIN + "parameters: {$schema: 'urn:x'}\n", "p.yaml:6: parameters.$schema: expected https://json-schema.org/"),
    ],
)
def test_what_is_wrong_has_its_line(text: str, sentence: str) -> None:
    found = mistakes(text)
    assert [sentence in mistake for mistake in found] == [True], found


def test_all_mistakes_at_once() -> None:
    assert len(mistakes("version: 1\nprocessingMode: {a: 1}\nparameters: {type: array}\nsystemParameters: 5\n")) == 6
