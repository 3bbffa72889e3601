import json
from typing import Any

import pytest
from sdk import testing

policy = testing.load_policy(__file__)
PARAMS = testing.params(field="gateway", value={"name": "gatewright"})
JSON = {"Content-Type": "application/json; charset=utf-8"}


def test_the_field_is_added_both_ways() -> None:
    body = '{"a": 9007199254740993, "b": "ü"}'.encode()
    request = policy.on_request(testing.request("POST", headers=JSON, body=body), PARAMS)
    response = policy.on_response(testing.response(headers=JSON, body=body), PARAMS)
    wanted = {"a": 9007199254740993, "b": "ü", "gateway": {"name": "gatewright"}}
    assert json.loads(request.body) == json.loads(response.body) == wanted


def test_half_of_a_surrogate_pair_stays_one() -> None:
    response = policy.on_response(testing.response(headers=JSON, body=rb'{"\ud83d": "\ud83d"}'), PARAMS)
    assert json.loads(response.body)["\ud83d"] == "\ud83d"


def test_a_field_that_is_there_gets_the_value() -> None:
    response = policy.on_response(testing.response(headers=JSON, body=b'{"gateway": 1}'), PARAMS)
    assert json.loads(response.body) == {"gateway": {"name": "gatewright"}}


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, b"{}"),
        ({"Content-Type": "text/plain"}, b"{}"),
        ({**JSON, "Content-Encoding": "gzip"}, b"{}"),
        (JSON, None),
        (JSON, b""),
        (JSON, b"[1]"),
        (JSON, b"{not json"),
        (JSON, b"\xff\xfe"),
        (JSON, "{}".encode("utf-16")),
        (JSON, b'{"a":' * 100_000),
    ],
)
def test_anything_else_passes(headers: dict[str, Any], body: bytes | None) -> None:
    assert policy.on_request(testing.request(headers=headers, body=body), PARAMS) is None
    assert policy.on_response(testing.response(headers=headers, body=body), PARAMS) is None
