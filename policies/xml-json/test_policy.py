import encodings
import json
import logging
import random
import time
from typing import Any
from xml.dom import minidom

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sdk import testing

policy = testing.load_policy(__file__)
DEFAULTS: dict[str, Any] = {
    "request": "none",
    "response": "none",
    "otherTypes": "pass",
    "lists": [],
    "maxDepth": 64,
    "maxBytes": 1 << 22,
}
BEGIN = '<?xml version="1.0" encoding="UTF-8"?>\n'


def execute(body: Any, headers: Any, **changed: Any) -> Any:
    params = testing.params({**DEFAULTS, **changed})
    sent = body.encode() if isinstance(body, str) else body
    with testing.prepared(policy, params) as prepared:
        return policy.on_request(testing.request("POST", headers=headers, body=sent, prepared=prepared), params)


def to_json(xml: Any, content_type: str = "application/xml", **changed: Any) -> Any:
    action = execute(xml, {"content-type": content_type}, request="xml-to-json", **changed)
    assert action.set_headers == {"content-type": "application/json"}
    return json.loads(action.body)


def to_xml(value: Any, **changed: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    action = execute(text, {"content-type": "application/json"}, request="json-to-xml", **changed)
    assert action.set_headers == {"content-type": "application/xml; charset=utf-8"}
    document = action.body.decode()
    assert document.startswith(BEGIN)
    return str(document[len(BEGIN) :])


def why(body: Any, conversion: str, **changed: Any) -> str:
    """Returns the detail of the answer to a body that cannot be converted."""
    sent = {"content-type": "text/xml" if conversion == "xml-to-json" else "application/json"}
    answer = execute(body, sent, request=conversion, **changed)
    assert answer.status_code == 400
    return str(json.loads(answer.body)["detail"])


# ------------------------------------------------------------------ XML to JSON


@pytest.mark.parametrize(
    ("xml", "value"),
    [
        ("<a/>", {"a": None}),
        ("<a></a>", {"a": None}),
        ("<a> b </a>", {"a": " b "}),
        ("<a b='c'/>", {"a": {"@b": "c"}}),
        ("<a b='c'>d</a>", {"a": {"@b": "c", "#text": "d"}}),
        ("<a>\n <b>1</b>\n <b>2</b>\n <c/>\n</a>", {"a": {"b": ["1", "2"], "c": None}}),
        ("<a><b/><b/><b/></a>", {"a": {"b": [None, None, None]}}),
        ("<a>x<b>y</b>z</a>", {"a": {"b": "y", "#text": "xz"}}),
        ("<a><![CDATA[<&]]>&lt;&#65;&#x42;</a>", {"a": "<&<AB"}),
        ("<a><!-- no --><?pi no?>b</a>", {"a": "b"}),
        (
            '<p:a xmlns:p="urn:p" xmlns="urn:q"><p:b/></p:a>',
            {"p:a": {"@xmlns:p": "urn:p", "@xmlns": "urn:q", "p:b": None}},
        ),
    ],
)
def test_xml_becomes_json_by_the_rules(xml: str, value: Any) -> None:
    assert to_json(xml) == value


def test_named_elements_become_lists() -> None:
    assert to_json("<a><b/><c/></a>", lists=["b", "other"]) == {"a": {"b": [None], "c": None}}


@pytest.mark.parametrize(
    ("xml", "content_type"),
    [
        ("<a>é€</a>".encode(), "application/xml"),
        ("\ufeff<a>é€</a>".encode(), "application/xml; charset=iso-8859-1"),
        ("<a>é€</a>".encode("utf-16"), "text/xml"),
        ("<?xml version='1.0' encoding='utf-16'?><a>é€</a>".encode("utf-16"), "application/soap+xml"),
        ("<?xml version='1.0' encoding='windows-1252'?><a>é€</a>".encode("cp1252"), "application/xml"),
        ("<?xml version='1.0' encoding='us-ascii'?><a>é€</a>".encode(), 'application/xml; Charset="UTF-8"'),
    ],
)
def test_encodings(xml: bytes, content_type: str) -> None:
    assert to_json(xml, content_type) == {"a": "é€"}


BOMB = "<!DOCTYPE a [<!ENTITY x 'xxxxxxxxxx'>" + "".join(
    f"<!ENTITY x{at} '{f'&x{at - 1 or str()};' * 10}'>" for at in range(1, 12)
)


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        (BOMB + "]><a>&x11;</a>", "without a document type"),
        (BOMB + "]><a b='&x11;'/>", "without a document type"),
        ("<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><a>&x;</a>", "without a document type"),
        ("<!DOCTYPE a SYSTEM 'http://127.0.0.1/a.dtd'><a/>", "without a document type"),
        ("<!DOCTYPE a PUBLIC '-//x' 'x'><a/>", "without a document type"),
        ("<!DOCTYPE a>" + "<a>" * 10, "without a document type"),
        ("<a>&x;</a>", "undefined entity"),
        ("<a>" * (1 << 18), "at most 64 levels"),
        ("<a>" * 65 + "</a>" * 65, "at most 64 levels"),
        ("<a><b></a></b>", "mismatched tag"),
        ("<a b='1' b='2'/>", "duplicate attribute"),
        ("<a/><b/>", "junk after document element"),
        ("<a", "unclosed token"),
        ("no XML", "syntax error"),
        ("<a>\x00</a>", "not well-formed"),
        ("<a>&#0;</a>", "invalid character number"),
        (b"<a>\xff</a>", "expected UTF-8, got something else at byte 3"),
        ("<?xml version='1.0' encoding='klingon'?><a/>", "got 'klingon'"),
        ("<?xml version='1.0' encoding='utf-7'?><a/>", "got 'utf-7'"),
        ("<?xml version='1.0' encoding='utf-16'?><a/>", "without its mark"),
        ("<?xml version='1.0' encoding='cp037'?><a/>".encode("cp037"), "got EBCDIC"),
        ("<a/>".encode("utf-16-be"), "without its mark"),
        ("<a/>".encode("utf-32"), "UTF-32"),
        (f"<?xml version='1.0' encoding='{'x' * 1_000_000}'?><a/>", "at most 512 bytes"),
        (b"\xff\xfe<\x00a", "expected UTF-16, got something else"),
    ],
)
def test_xml_that_is_refused(xml: Any, message: str) -> None:
    began = time.process_time()
    assert message in why(xml, "xml-to-json")
    assert time.process_time() - began < 10


NAMES = ["klingon", "utf-7", "idna", "undefined", "punycode", "\udcff", "x" * 50_000, "utf-8; charset=latin1"]


@pytest.mark.parametrize("charset", NAMES)
def test_an_unknown_charset_is_refused(charset: str) -> None:
    for conversion, media_type, body in (("xml-to-json", "text/xml", "<a/>"), ("json-to-xml", "a/json", '{"a": 1}')):
        answer = execute(body, {"content-type": f"{media_type}; charset={charset}"}, request=conversion)
        assert answer.status_code == 400
        assert len(answer.body) < 400


def test_unknown_names_of_charsets_are_not_cached() -> None:
    chance = random.Random(28)  # noqa: S311 — no secret
    to_json("<?xml version='1.0' encoding='windows-1252'?><a/>")
    before = len(encodings._cache)
    for _ in range(50):
        name = f"x-{chance.getrandbits(64):x}"
        assert execute("<a/>", {"content-type": f"text/xml; charset={name}"}, request="xml-to-json").status_code == 400
        xml = f"<?xml version='1.0' encoding='{name}'?><a/>"
        assert execute(xml, {"content-type": "text/xml"}, request="xml-to-json").status_code == 400
    assert len(encodings._cache) == before


def test_json_is_read_by_its_charset() -> None:
    for charset, encoding in (("", "utf-8"), ("utf-8", "utf-8-sig"), ("iso-8859-15", "iso-8859-15"), ("", "utf-16")):
        sent = {"content-type": f"application/json; charset={charset}" if charset else "application/json"}
        action = execute('{"a": "é€"}'.encode(encoding), sent, request="json-to-xml")
        assert action.body.decode() == f"{BEGIN}<a>é€</a>"


def test_many_elements_take_little_time() -> None:
    began = time.process_time()
    assert len(to_json("<a>" + "<b/>" * 200_000 + "</a>")["a"]["b"]) == 200_000
    assert time.process_time() - began < 20


# ------------------------------------------------------------------ JSON to XML


@pytest.mark.parametrize(
    ("value", "xml"),
    [
        ({"a": None}, "<a></a>"),
        ({"a": ""}, "<a></a>"),
        ({"a": {}}, "<a></a>"),
        ({"a": True}, "<a>true</a>"),
        ('{"a": 1.10}', "<a>1.10</a>"),
        ('{"a": -12345678901234567890123456789e400}', "<a>-12345678901234567890123456789e400</a>"),
        ({"a": {"@b": 1, "#text": "c", "@d": None}}, '<a b="1" d="">c</a>'),
        ({"a": {"b": [1, {"c": 2}, None]}}, "<a><b>1</b><b><c>2</c></b><b></b></a>"),
        ({"a": {"b": []}}, "<a></a>"),
        ({"a": "<&>\r\n\t\"']]>"}, "<a>&lt;&amp;&gt;&#13;\n\t\"']]&gt;</a>"),
        ({"a": {"@b": "<&>\r\n\t\"'"}}, '<a b="&lt;&amp;&gt;&#13;&#10;&#9;&quot;\'"></a>'),
        ({"p:é": {"@xmlns:p": "urn:p"}}, '<p:é xmlns:p="urn:p"></p:é>'),
    ],
)
def test_json_becomes_xml_by_the_rules(value: Any, xml: str) -> None:
    assert to_xml(value) == xml
    minidom.parseString(xml)  # noqa: S318 — xml of this test


def test_a_root_for_values_without_one() -> None:
    assert to_xml([1, {"a": 2}], rootName="all") == "<all><item>1</item><item><a>2</a></item></all>"
    assert to_xml({"a": 1, "b": 2}, rootName="all") == "<all><a>1</a><b>2</b></all>"
    assert to_xml({"a": [1, 2]}, rootName="all") == "<all><a>1</a><a>2</a></all>"
    assert to_xml(7, rootName="all") == "<all>7</all>"
    assert to_xml({"a": 1}, rootName="all") == "<a>1</a>"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("[1]", "one member"),
        ("{}", "one member"),
        ('{"a": 1, "b": 2}', "one member"),
        ('{"a": [1, 2]}', "one member"),
        ('{"a": {"b": [[1]]}}', "no list in the list 'b'"),
        ('{"a": {"@b": {}}}', "expected text in '@b'"),
        ('{"a": {"#text": [1]}}', "expected text in 'a'"),
        ('{"a b": 1}', "expected an XML name"),
        ('{"": 1}', "expected an XML name"),
        ('{"1a": 1}', "expected an XML name"),
        ('{"a:b:c": 1}', "expected an XML name"),
        ('{"a><script": 1}', "expected an XML name"),
        ('{"a": {"@b=\\"1\\" c": 1}}', "expected an XML name"),
        ('{"a": {"#comment": 1}}', "expected an XML name"),
        ('{"a": "\\u0000"}', "a character that XML does not allow"),
        ('{"a": {"@b": "\\u001b"}}', "a character that XML does not allow"),
        ('{"a": "\\ud800"}', "a character that XML does not allow"),
        ('{"a": "\\uffff"}', "a character that XML does not allow"),
        ('{"a": 1, "a": 2}', "has a name twice"),
        ('{"a": NaN}', "NaN and Infinity"),
        ('{"a": ', "expected JSON"),
        (b'{"a": "\xff"}', "expected UTF-8, got something else at byte 7"),
        ("[" * (1 << 18), "fewer levels"),
        ('{"a":' * 65 + "1" + "}" * 65, "at most 64 levels"),
        (json.dumps({"a": {"b" * 60_000: [0] * 100_000}}), "at most 4194304 bytes"),
        (json.dumps({"a": "<" * 1_100_000}), "at most 4194304 bytes"),
    ],
)
def test_json_that_is_refused(body: Any, message: str) -> None:
    began = time.process_time()
    assert message in why(body, "json-to-xml")
    assert time.process_time() - began < 10


ELEMENTS = st.sampled_from(["a", "b", "p:c", "é"])
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"]), min_size=1, max_size=8).filter(
    lambda text: not text.isspace() and not policy.check_name.__globals__["NO_CHARACTER"].search(text)
)
VALUES = st.recursive(
    st.none() | TEXTS,
    lambda of: (
        st.dictionaries(ELEMENTS, of | st.lists(of, min_size=2, max_size=3), min_size=1, max_size=3)
        | st.fixed_dictionaries({"@a": TEXTS, "#text": TEXTS})
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(value=VALUES)
def test_a_round_trip_keeps_the_document(value: Any) -> None:
    assert to_json(to_xml({"root": value})) == {"root": value}


@settings(deadline=None)
@given(
    body=st.binary(min_size=1, max_size=40) | st.text(min_size=1, max_size=40).map(lambda text: f"<a>{text}".encode())
)
def test_any_bytes_get_an_answer(body: bytes) -> None:
    for conversion in ("xml-to-json", "json-to-xml"):
        sent = {"content-type": "text/xml" if conversion == "xml-to-json" else "application/json"}
        action = execute(body, sent, request=conversion, rootName="a")
        assert getattr(action, "status_code", 400) == 400


# ------------------------------------------------------------------ messages


def answered(body: bytes | None, status: int = 200, content_type: str = "text/xml", **changed: Any) -> Any:
    params = testing.params({**DEFAULTS, "response": "xml-to-json", **changed})
    with testing.prepared(policy, params) as prepared:
        request = testing.request(prepared=prepared)
        return policy.on_response(
            testing.response(status, headers={"content-type": content_type}, body=body, request=request), params
        )


def test_responses(caplog: pytest.LogCaptureFixture) -> None:
    assert answered(b"<a>1</a>", 404).body == b'{"a":"1"}'
    assert "content-digest" in answered(b"<a/>").remove_headers
    assert (answered(None, 204), answered(b"<a/>", response="none")) == (None, None)
    with caplog.at_level(logging.WARNING):
        refused = answered(b"<a>secret")
    assert refused.status_code == 502
    assert json.loads(refused.body)["detail"] == "the upstream's response cannot be converted"
    assert "no element found" in caplog.text
    assert "secret" not in caplog.text


def test_other_types() -> None:
    assert execute("a", {"content-type": "text/plain"}, request="xml-to-json") is None
    assert execute("a", {}, request="xml-to-json") is None
    assert execute("a", {"content-type": "text/plain"}, request="xml-to-json", otherTypes="refuse").status_code == 415
    assert execute("<a/>", {"content-type": ["text/xml", "a/b"]}, request="xml-to-json").status_code == 415
    assert answered(b"<html>", content_type="text/html") is None
    assert answered(b"<html>", content_type="text/html", otherTypes="refuse").status_code == 502


def test_the_name_of_the_root_is_checked_at_publish() -> None:
    with pytest.raises(ValueError, match="expected an XML name, got 'a b'"):
        to_xml([], rootName="a b")
