"""Offers a SOAP 1.1 service as a JSON API: attach it to a POST operation, with the service's operation as parameters.

    {"name": "ACME", "day": [1, 2]}   ⇄   <GetPrice xmlns="…"><name>ACME</name><day>1</day><day>2</day></GetPrice>

Objects become elements, lists repeated elements, null an element with xsi:nil. The answer has objects, lists for
repeated names, and text: XML has no numbers and booleans, and does not show that a list has one element. Attributes are
dropped. A SOAP fault becomes a 502 that names it.

The upstream's answer is parsed without entities, document types and network access, and neither body is larger than the
attachment's `maxBodyBytes`.
"""

import json
from typing import Any

from lxml import etree
from sdk.policy import (
    ImmediateResponse,
    RequestAction,
    RequestContext,
    ResponseAction,
    ResponseContext,
    UpstreamRequestModifications,
    UpstreamResponseModifications,
)

SOAP = "{http://schemas.xmlsoap.org/soap/envelope/}"
NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"


def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    try:
        document = json.loads(ctx.body or b"{}")
        if not isinstance(document, dict):
            return problem(400, "expected a JSON object")
        envelope = enveloped(document, params["operation"], params["namespace"])
    except (ValueError, RecursionError) as error:  # no JSON, or a name or character that XML cannot contain
        return problem(400, f"expected a JSON object that fits into XML: {error}")
    return UpstreamRequestModifications(
        set_headers={"content-type": "text/xml; charset=utf-8", "soapaction": f'"{params["soapAction"]}"'},
        remove_headers=["accept"],
        body=envelope,
    )


def on_response(ctx: ResponseContext, params: dict[str, Any]) -> ResponseAction:
    if ctx.status_code >= 400 and "xml" not in ctx.headers.get("content-type", ""):
        return None  # the answer of a proxy, or of a later policy
    try:
        content = content_of(ctx.body or b"")
    except ValueError as error:
        return problem(502, f"upstream answered {ctx.status_code} with no SOAP envelope: {error}")
    if content.tag == f"{SOAP}Fault":
        return problem(502, f"{content.findtext('faultcode')}: {content.findtext('faultstring')}")
    body = json.dumps(value_of(content), ensure_ascii=False)
    return UpstreamResponseModifications(set_headers={"content-type": "application/json"}, body=body)


def enveloped(document: dict[str, Any], operation: str, namespace: str) -> bytes:
    """The SOAP envelope of a document. ValueError for names and text that XML cannot contain."""
    envelope = etree.Element(f"{SOAP}Envelope", nsmap={"soap": SOAP.strip("{}")})
    body = etree.SubElement(envelope, f"{SOAP}Body", nsmap={"op": namespace})
    add(etree.SubElement(body, etree.QName(namespace, operation)), document, namespace)
    return etree.tostring(envelope, xml_declaration=True, encoding="utf-8")


def add(parent: etree._Element, value: Any, namespace: str) -> None:
    """Puts a JSON value into an element."""
    if isinstance(value, dict):
        for name, inner in value.items():
            for item in inner if isinstance(inner, list) else [inner]:
                add(etree.SubElement(parent, etree.QName(namespace, name)), item, namespace)
    elif isinstance(value, list):
        raise ValueError("a list in a list")
    elif value is None:
        parent.set(NIL, "true")
    else:
        parent.text = value if isinstance(value, str) else json.dumps(value)


def content_of(answer: bytes) -> etree._Element:
    """The element in the envelope's body. ValueError: there is none."""
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(answer, parser)
    except etree.XMLSyntaxError as error:
        raise ValueError(str(error)) from None
    if root.getroottree().docinfo.internalDTD is not None:
        raise ValueError("it has a document type")
    content = root.find(f"{SOAP}Body/*")
    if root.tag != f"{SOAP}Envelope" or content is None:
        raise ValueError(f"it is a {root.tag}")
    return content


def value_of(element: etree._Element) -> Any:
    """The JSON value of an element."""
    if len(element) == 0:
        return None if element.get(NIL) in {"true", "1"} else element.text or ""
    values: dict[str, list[Any]] = {}
    for child in element:
        values.setdefault(etree.QName(child).localname, []).append(value_of(child))
    return {name: items[0] if len(items) == 1 else items for name, items in values.items()}


def problem(status: int, detail: str) -> ImmediateResponse:
    body = json.dumps({"type": "about:blank", "status": status, "detail": detail})
    return ImmediateResponse(status, {"content-type": "application/problem+json"}, body)
