import json
from typing import Any

import pytest
from lxml import etree
from sdk import testing
from sdk.policy import ImmediateResponse, UpstreamRequestModifications

policy = testing.load_policy(__file__)
PARAMS = testing.params(operation="GetPrice", namespace="urn:shop", soapAction="urn:shop#GetPrice")
ENVELOPE = '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>{}</s:Body></s:Envelope>'
XML = {"content-type": "text/xml; charset=utf-8"}


def execute(body: bytes | None) -> Any:
    return policy.on_request(testing.request("POST", body=body), PARAMS)


def answered(body: bytes, status: int = 200, headers: Any = XML) -> Any:
    return policy.on_response(testing.response(status, headers=headers, body=body), PARAMS)


def test_an_object_becomes_an_envelope() -> None:
    document = {"symbol": "A<&ü", "days": [1, 2], "limit": {"max": 1.5, "hard": True}, "note": None, "none": []}
    action = execute(json.dumps(document).encode())
    assert isinstance(action, UpstreamRequestModifications)
    assert action.set_headers == {"content-type": "text/xml; charset=utf-8", "soapaction": '"urn:shop#GetPrice"'}
    assert isinstance(action.body, bytes)
    operation = etree.fromstring(action.body)[0][0]
    assert operation.tag == "{urn:shop}GetPrice"
    assert [(etree.QName(child).localname, child.text) for child in operation] == [
        ("symbol", "A<&ü"), ("days", "1"), ("days", "2"), ("limit", None), ("note", None),
    ]  # fmt: skip
    assert [(child.tag, child.text) for child in operation[3]] == [("{urn:shop}max", "1.5"), ("{urn:shop}hard", "true")]
    assert operation[4].get("{http://www.w3.org/2001/XMLSchema-instance}nil") == "true"


@pytest.mark.parametrize("body", [None, b""])
def test_no_body_is_an_operation_without_fields(body: bytes | None) -> None:
    assert len(etree.fromstring(execute(body).body)[0][0]) == 0


@pytest.mark.parametrize(
    "body",
    [
        b"[1]", b"{", b"\xff", b'{"a b": 1}', b'{"{urn:x}a": 1}', b'{"a:b": 1}', b'{"": 1}', b'{"a": "\\u0000"}',
        b'{"a": [[1]]}',
        b'{"a":' * 90_000 + b"1" + b"}" * 90_000, b'{"a": "\\ud800"}',
    ],
)  # fmt: skip
def test_what_no_xml_can_hold_is_refused(body: bytes) -> None:
    action = execute(body)
    assert isinstance(action, ImmediateResponse)
    assert action.status_code == 400


def test_an_envelope_becomes_an_object() -> None:
    inner = (
        '<r:R xmlns:r="urn:shop" xmlns:i="http://www.w3.org/2001/XMLSchema-instance"><r:price>7.5</r:price><!-- no -->'
        '<r:day>1</r:day><r:day>2</r:day><r:by><r:name>Ada</r:name></r:by><r:note i:nil="true"/><r:empty/></r:R>'
    )
    action = answered(ENVELOPE.format(inner).encode())
    assert action.set_headers == {"content-type": "application/json"}
    assert json.loads(action.body) == {
        "price": "7.5", "day": ["1", "2"], "by": {"name": "Ada"}, "note": None, "empty": "",
    }  # fmt: skip


def test_a_fault_is_a_502_that_names_it() -> None:
    fault = "<s:Fault><faultcode>s:Server</faultcode><faultstring>no such symbol</faultstring></s:Fault>"
    action = answered(ENVELOPE.format(fault).encode(), 500)
    assert isinstance(action, ImmediateResponse)
    assert action.status_code == 502
    assert json.loads(action.body)["detail"] == "s:Server: no such symbol"


ENTITIES = "".join(f'<!ENTITY a{n} "&a{n - 1};&a{n - 1};&a{n - 1};&a{n - 1};">' for n in range(1, 20))


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "no SOAP envelope"),
        (b"<a>", "no SOAP envelope"),
        (b"<html/>", "it is a html"),
        (ENVELOPE.format("").encode(), "it is a"),
        (b'<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]>' + ENVELOPE.format("<a>&e;</a>").encode(), "type"),
        (f'<!DOCTYPE a [<!ENTITY a0 "ha">{ENTITIES}]>{ENVELOPE.format("<a>&a19;</a>")}'.encode(), "no SOAP envelope"),
        (b'<!DOCTYPE a SYSTEM "http://127.0.0.1:1/a.dtd">' + ENVELOPE.format("<a/>").encode(), "document type"),
        (ENVELOPE.format("<a>" * 90_000 + "</a>" * 90_000).encode(), "no SOAP envelope"),
    ],
)
def test_what_is_no_envelope_or_is_not_harmless_is_a_502(body: bytes, why: str) -> None:
    action = answered(body)
    assert isinstance(action, ImmediateResponse)
    assert action.status_code == 502
    assert why in json.loads(action.body)["detail"]


def test_an_error_that_is_no_xml_passes() -> None:
    assert answered(b"{}", 503, {"content-type": "application/problem+json"}) is None
    assert answered(b"{}", 200, {"content-type": "application/json"}).status_code == 502
