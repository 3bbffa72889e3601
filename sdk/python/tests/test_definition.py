from typing import Any

import pytest
from gatewright.definition import (
    BodyMode,
    DefinitionError,
    EncodedBodies,
    HeaderMode,
    PolicyDefinition,
    ProcessingModeConfig,
    Runtime,
    definition_digest,
    definition_mistakes,
)

GOOD: dict[str, Any] = {
    "name": "add-python-header",
    "version": "v1.0.0",
    "runtime": "python",
    "displayName": "Add Python Header",
    "processingMode": {"requestHeaderMode": "PROCESS", "responseBodyMode": "BUFFER"},
    "parameters": {"type": "object"},
}


def test_a_definition() -> None:
    definition = PolicyDefinition.from_document(GOOD)
    assert (definition.name, definition.version, definition.runtime) == ("add-python-header", "v1.0.0", Runtime.PYTHON)
    assert definition.parameters == {"type": "object"}
    assert definition.processing_mode == ProcessingModeConfig(
        request_header_mode=HeaderMode.PROCESS, response_body_mode=BodyMode.BUFFER
    )
    assert definition.processing_mode.wants_request
    assert definition.processing_mode.wants_response
    assert not ProcessingModeConfig().wants_request
    assert not ProcessingModeConfig().wants_response


def test_what_a_policy_asks_for_beside_the_phases() -> None:
    modes = {"requestBodyMode": "BUFFER", "responseHeaderMode": "PROCESS", "requestBodyInResponse": True}
    asked = PolicyDefinition.from_document(
        {**GOOD, "processingMode": {**modes, "encodedBodies": "PASS"}}
    ).processing_mode
    assert (asked.request_body_in_response, asked.encoded_bodies) == (True, EncodedBodies.PASS)
    plain = PolicyDefinition.from_document(GOOD).processing_mode
    assert (plain.request_body_in_response, plain.encoded_bodies) == (False, EncodedBodies.DECODE)


def test_all_mistakes_at_once() -> None:
    bad = {
        "name": "Add_Header", "version": "1.0", "runtime": "rust", "description": 7, "extra": 1,
        "processingMode": {"requestHeaderMode": "BUFFER", "requestbodymode": "SKIP"},
    }  # fmt: skip
    with pytest.raises(DefinitionError) as caught:
        PolicyDefinition.from_document(bad)
    assert [str(mistake).split(":")[0] for mistake in caught.value.mistakes] == [
        "extra", "name", "version", "runtime", "description",
        "processingMode.requestbodymode", "processingMode.requestHeaderMode",
    ]  # fmt: skip
    assert "runtime: expected python or go, got 'rust'; write runtime: python or runtime: go" in str(caught.value)


@pytest.mark.parametrize("text", ["1s", "30s", "299s", "300s"])
def test_a_time_to_prepare(text: str) -> None:
    assert PolicyDefinition.from_document({**GOOD, "prepareTimeout": text}).prepare_timeout == text
    assert PolicyDefinition.from_document(GOOD).prepare_timeout == "10s"


@pytest.mark.parametrize("text", ["", "0s", "30", "30 s", "5m", "1.5s", "301s", "1000s", "300ms", "-1s", "3s\n"])
def test_no_time_to_prepare(text: str) -> None:
    with pytest.raises(DefinitionError, match="prepareTimeout: expected a time from 1s to 300s, got"):
        PolicyDefinition.from_document({**GOOD, "prepareTimeout": text})


@pytest.mark.parametrize(("document", "sentence"), [
    (["x"], r"\$: expected a mapping with name, version, .*, got \['x'\]; write its keys"),
    ({}, "name: expected .* got nothing; .*processingMode: expected the phases, got nothing"),
    ({**GOOD, "processingMode": {"requestBodyMode": ["x"]}}, r"processingMode\.requestBodyMode: .* got \['x'\]"),
    ({**GOOD, "processingMode": {"encodedBodies": "gzip"}}, "Bodies: expected REFUSE, PASS or DECODE, got 'gzip'"),
    ({**GOOD, "processingMode": {"requestBodyInResponse": 1}}, "requestBodyInResponse: expected true or false, got 1"),
    ({**GOOD, "processingMode": {"requestBodyInResponse": True, "responseHeaderMode": "PROCESS"}},
     "requestBodyInResponse: expected requestBodyMode: BUFFER beside it, got requestBodyMode: SKIP; write BUFFER"),
    ({**GOOD, "processingMode": {"requestBodyInResponse": True, "requestBodyMode": "BUFFER"}},
     "requestBodyInResponse: expected a response phase that calls on_response, got SKIP for both; write responseHead"),
    ({**GOOD, "processingMode": {"requestBodyInResponse": True, "requestBodyMode": "BUFFER",
                                 "responseBodyMode": "STREAM"}},
     "requestBodyInResponse: expected a response phase that calls on_response, got STREAM alone; write responseHead"),
    ({**GOOD, "processingMode": {"responseBodyMode": "CHUNKS"}},
     r"responseBodyMode: expected SKIP, BUFFER or STREAM, got 'CHUNKS'; write BUFFER .*, STREAM for"),
    ({**GOOD, "processingMode": {"requestBodyInResponse": True, "requestBodyMode": "STREAM"}},
     "requestBodyInResponse: expected requestBodyMode: BUFFER beside it, got requestBodyMode: STREAM; write BUFFER"),
    ({**GOOD, "processingMode": {}}, "processingMode: expected a phase that is not SKIP, got none; write PROCESS"),
    ({**GOOD, "name": "7th-header"}, "name: expected a policy name: .*, got '7th-header'; write one like add-headers"),
    ({**GOOD, "version": "v1.0.0\n"}, "version: expected a version vX.Y.Z, got"),
])  # fmt: skip
def test_what_is_no_definition(document: object, sentence: str) -> None:
    with pytest.raises(DefinitionError, match=sentence):
        PolicyDefinition.from_document(document)


@pytest.mark.parametrize(("modes", "hooks"), [
    ({"requestHeaderMode": "PROCESS"}, ["on_request"]),
    ({"requestBodyMode": "BUFFER", "responseBodyMode": "BUFFER"}, ["on_request", "on_response"]),
    ({"requestBodyMode": "STREAM"}, ["on_request_stream"]),
    ({"requestHeaderMode": "PROCESS", "requestBodyMode": "STREAM"}, ["on_request", "on_request_stream"]),
    ({"responseBodyMode": "STREAM", "encodedBodies": "DECODE"}, ["on_response_stream"]),
    ({"requestBodyMode": "BUFFER", "responseHeaderMode": "PROCESS", "responseBodyMode": "STREAM",
      "requestBodyInResponse": True},
     ["on_request", "on_response", "on_response_stream"]),
])  # fmt: skip
def test_the_modes_say_which_functions_are_called(modes: dict[str, object], hooks: list[str]) -> None:
    mode = PolicyDefinition.from_document({**GOOD, "processingMode": modes}).processing_mode
    assert [*mode.hooks] == hooks
    assert mode.streams == any(hook.endswith("_stream") for hook in hooks)


def test_the_digest_is_of_canonical_json() -> None:
    # echo -n '{"a":"é","b":[1,true,null]}' | sha256sum
    expected = "170409917e32971e79e71df2c0a04cc84c3c089ef0c7c2a94dbde72cafebd52d"
    document, reordered = {"b": [1, True, None], "a": "é"}, {"a": "é", "b": [1, True, None]}
    assert definition_digest(document) == definition_digest(reordered) == expected
    assert definition_digest({**document, "b": [1, True, 0]}) != expected


def test_a_key_of_the_processing_mode_at_the_top_says_where_it_belongs() -> None:
    document = {"name": "a", "version": "v1.0.0", "runtime": "python", "encodedBodies": "PASS"}
    cures = {mistake.path: mistake.cure for mistake in definition_mistakes(document)}
    assert cures["encodedBodies",] == "write it below processingMode"
