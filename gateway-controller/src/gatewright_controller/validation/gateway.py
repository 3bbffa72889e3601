"""What a Gateway says, checked: its fields by themselves, and what they say together.

The document may be wrong anywhere: the check of its structure reports parts that cannot be read; they are skipped here.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from gatewright_documents.mistake import Invalid, Mistake, format_path, listed, shown
from gatewright_documents.strict import mistakes_of
from gatewright_documents.values import JsonObject, JsonValue

from gatewright_controller.model import LINE_BEGINS, Gateway, gateway_from_document
from gatewright_controller.resource.hosts import EVERY_HOST, HostSyntaxError, check_host, covers_host, is_address
from gatewright_controller.resource.proxy_headers import ALWAYS_SET, NAMES, PREFIXES, is_proxy_header
from gatewright_controller.validation.acme import check_certificates
from gatewright_controller.validation.admin import check_admin
from gatewright_controller.validation.collectors import check_collector
from gatewright_controller.validation.gateway_draft import Draft, DraftListener, meet
from gatewright_controller.validation.redaction import check_fields, check_redaction
from gatewright_controller.validation.tracing import check_tracing
from gatewright_controller.validation.values import as_list, as_object, texts_of

Mistakes = Iterator[Mistake]


def validate_gateway(document: JsonObject) -> Gateway:
    """The Gateway that the document says. Raises `Invalid` with every mistake."""
    mistakes = [*mistakes_of(Gateway, document), *_meaning(Draft.of(document))]
    if mistakes:
        raise Invalid(mistakes)
    return gateway_from_document(document)


def _meaning(draft: Draft) -> Mistakes:
    yield from _check_names(draft.listeners)
    yield from _check_addresses(draft.listeners)
    for listener in draft.listeners:
        yield from _check_protocol(listener)
        yield from _check_tls(listener, draft)
        yield from _check_http3(listener)
        yield from _check_twice(f"{listener.field}.hosts", texts_of(listener.raw.get("hosts")))
        compression = as_object(listener.raw.get("compression"))
        yield from _check_twice(f"{listener.field}.compression.encodings", texts_of(compression.get("encodings")))
        if listener.raw.get("proxyProtocol") is True and not draft.proxies.get("networks"):
            expected = "trustedProxies.networks with proxyProtocol, or any client could say who it is"
            cure = "name the networks of the proxies that send PROXY headers"
            yield Mistake.expecting(expected, "none", cure, field=f"{listener.field}.proxyProtocol")
    for kind, names in (("certificates", list(draft.certificates)), ("authorities", draft.authorities)):
        yield from _check_keys(["spec", kind], names, RESOURCE_NAME)
    yield from check_certificates(draft)
    yield from _check_proxies(draft.proxies)
    yield from _check_passed_headers(draft.passed_headers)
    yield from _check_access_log(draft.access_log)
    yield from check_admin(draft.admin, draft.listeners)
    yield from check_fields(as_object(draft.access_log.get("fields")), draft.redaction)
    yield from check_redaction(draft.redaction)
    yield from check_collector("logs", draft.logs)
    yield from check_tracing(draft.tracing)


def _check_names(listeners: Sequence[DraftListener]) -> Mistakes:
    seen: dict[str, str] = {}
    for listener in listeners:
        name = listener.text("name")
        if name and seen.setdefault(name, listener.field) != listener.field:
            got = f"{shown(name)} as in {seen[name]}"
            yield Mistake.expecting("a name of its own", got, "rename one of the two", field=f"{listener.field}.name")


def _check_addresses(listeners: Sequence[DraftListener]) -> Mistakes:
    before: list[DraftListener] = []
    for listener in listeners:
        if listener.address is None and listener.text("address"):
            expected = "an address such as 127.0.0.1, 0.0.0.0 or '::'"
            yield Mistake.expecting(expected, shown(listener.text("address")), field=f"{listener.field}.address")
        if other := next((other for other in before if meet(listener, other)), None):
            got = f"{listener.port} as in {other.field}"
            cure = "choose another port, or another address"
            yield Mistake.expecting("a port that no other listener has", got, cure, field=f"{listener.field}.port")
        before.append(listener)


def _check_protocol(listener: DraftListener) -> Mistakes:
    protocol = listener.text("protocol", "http")
    if protocol == "https" and "tls" not in listener.raw:
        cure = "write tls: {certificates: [NAME]}, or protocol: http"
        yield Mistake.expecting("tls with protocol https", "none", cure, field=f"{listener.field}.tls")
    if protocol == "http" and "tls" in listener.raw:
        cure = "write protocol: https, or remove tls"
        yield Mistake.expecting("no tls with protocol http", "some", cure, field=f"{listener.field}.tls")
    if protocol == "https" and "redirect" in listener.raw:
        cure = "remove it, or write protocol: http"
        yield Mistake.expecting("no redirect with protocol https", "one", cure, field=f"{listener.field}.redirect")
    if "redirect" in listener.raw and listener.raw.get("internal") is True:
        expected = "no internal with redirect, which serves no API"
        yield Mistake.expecting(expected, "true", "remove one of the two", field=f"{listener.field}.internal")
    if "redirect" in listener.raw and "compression" in listener.raw:
        expected = "no compression with redirect, whose answers have no bodies"
        yield Mistake.expecting(expected, "some", "remove it", field=f"{listener.field}.compression")


def _check_tls(listener: DraftListener, draft: Draft) -> Mistakes:
    tls = as_object(listener.raw.get("tls"))
    field = f"{listener.field}.tls"
    certificates = texts_of(tls.get("certificates"))
    for at, name in enumerate(certificates):
        yield from _check_known(f"{field}.certificates[{at}]", name, "certificates", list(draft.certificates))
    yield from _check_twice(f"{field}.certificates", certificates)
    yield from _check_twice(f"{field}.ciphers", texts_of(tls.get("ciphers")))
    yield from _check_authority(f"{field}.clientCertificates", tls.get("clientCertificates"), draft)
    by_host = as_object(tls.get("clientCertificatesByHost"))
    for host, asked in by_host.items():
        place = format_path([host], f"{field}.clientCertificatesByHost")
        yield from _check_server_name(place, host, texts_of(listener.raw.get("hosts")))
        yield from _check_authority(place, asked, draft)


def _check_authority(field: str, asked: JsonValue, draft: Draft) -> Mistakes:
    if isinstance(authority := as_object(asked).get("authority"), str):
        yield from _check_known(f"{field}.authority", authority, "authorities", draft.authorities)


def _check_server_name(field: str, host: str, served: Sequence[str]) -> Mistakes:
    """Clients are asked for certificates by the server name (SNI), which is a name, and one that is connected."""
    if host == EVERY_HOST:
        cure = "write clientCertificates, which is for all hosts that are not named"
        yield Mistake.expecting("a host name, or '*.' and one", shown(host), cure, field=field)
        return
    try:
        check_host(host)
    except HostSyntaxError as error:
        yield Mistake(field, str(error))
        return
    if is_address(host):
        expected, cure = "the name of a host, by which clients ask (SNI)", "name the host"
        yield Mistake.expecting(expected, f"the address {host}", cure, field=field)
    elif served and not any(covers_host(pattern, host) for pattern in served):
        expected, cure = f"a host of the listener's hosts: {listed(served)}", "add it to hosts, or correct the name"
        yield Mistake.expecting(expected, shown(host), cure, field=field)


def _check_http3(listener: DraftListener) -> Mistakes:
    if listener.raw.get("http3") is not True:
        return
    if listener.text("protocol", "http") == "http":
        cure = "write protocol: https, or remove http3"
        yield Mistake.expecting("no http3 with protocol http", "true", cure, field=f"{listener.field}.http3")
    if listener.raw.get("proxyProtocol") is True:
        expected = "no proxyProtocol with http3: QUIC has no PROXY headers"
        yield Mistake.expecting(expected, "true", "remove one of the two", field=f"{listener.field}.proxyProtocol")
    if "connectionsPerSecond" in as_object(listener.raw.get("limits")):
        expected = "no connectionsPerSecond with http3: Envoy counts connections of TCP alone"
        cure = "remove one of the two, or write limits.connections"
        yield Mistake.expecting(expected, "some", cure, field=f"{listener.field}.limits.connectionsPerSecond")


def _check_known(field: str, name: str, kind: str, known: Sequence[str]) -> Mistakes:
    if name not in known:
        expected = f"a name of spec.{kind}: {listed(sorted(known))}"
        yield Mistake.expecting(expected, shown(name), f"add it to spec.{kind}, or correct the name", field=field)


def _check_twice(field: str, texts: Sequence[str]) -> Mistakes:
    for at, text in enumerate(texts):
        if text in texts[:at]:
            yield Mistake.expecting(
                "each once", f"{shown(text)} twice", "remove one of the two", field=f"{field}[{at}]"
            )


RESOURCE_NAME = (r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", "1 to 63 lower-case letters, digits and inner hyphens")
FIELD_NAME = (r"[A-Za-z_][A-Za-z0-9_.-]{0,63}", "1 to 64 letters, digits, '_', '.' and '-', such as 'user_agent'")


def _check_keys(path: Sequence[str], keys: Iterable[str], wanted: tuple[str, str]) -> Mistakes:
    """A schema says of a key that is wrong only where it is."""
    for key in keys:
        if not re.fullmatch(wanted[0], key):
            yield Mistake.expecting(f"as a name {wanted[1]}", shown(key), field=format_path(path))


def _check_proxies(proxies: JsonObject) -> Mistakes:
    networks = texts_of(proxies.get("networks"))
    if networks and proxies.get("hops"):
        cure = "leave one out: networks say who is believed, hops how many"
        yield Mistake.expecting("hops or networks", "both", cure, field="spec.trustedProxies")
    seen: set[str] = set()
    for at, text in enumerate(networks):
        field = f"spec.trustedProxies.networks[{at}]"
        if expected := _expected_network(text):
            yield Mistake.expecting(expected, shown(text), field=field)
        elif (same := str(ipaddress.ip_network(text))) in seen:
            yield Mistake.expecting("each network once", f"{same} twice", "remove one of the two", field=field)
        else:
            seen.add(same)


def _check_passed_headers(names: Sequence[str]) -> Mistakes:
    yield from _check_twice("spec.passedHeaders", names)
    for at, name in enumerate(names):
        if not is_proxy_header(name):
            expected = f"one of {', '.join(NAMES)}, or a name that begins with {', '.join(PREFIXES)}"
            cure = "remove it: the gateway sets it" if name in ALWAYS_SET else "remove it: it goes on anyway"
            yield Mistake.expecting(expected, shown(name), cure, field=f"spec.passedHeaders[{at}]")


def _expected_network(text: str) -> str:
    """What a network should have been; "" where it is one."""
    try:
        ipaddress.ip_network(text)
    except ValueError:
        try:
            return str(ipaddress.ip_network(text, strict=False))
        except ValueError:
            return "a network such as 10.0.0.0/8, or an address"
    return ""


def _check_access_log(access_log: JsonObject) -> Mistakes:
    names = list(as_object(access_log.get("fields")))
    yield from _check_keys(["spec", "accessLog", "fields"], names, FIELD_NAME)
    for name in names:
        if name in LINE_BEGINS:
            expected = f"a name other than {', '.join(LINE_BEGINS)}, which each line begins with"
            field = format_path(["spec", "accessLog", "fields", name])
            yield Mistake.expecting(expected, shown(name), "rename it", field=field)
    places: list[tuple[str, JsonValue]] = []
    for at, raw in enumerate(as_list(access_log.get("destinations"))):
        destination = as_object(raw)
        field = f"spec.accessLog.destinations[{at}]"
        yield from _check_destination(field, destination)
        place = (str(destination.get("to", "stdout")), destination.get("path") or destination.get("collector"))
        if place in places:
            yield Mistake.expecting("each destination once", "it twice", "remove one of the two", field=field)
        places.append(place)


NEEDS: dict[str, tuple[str, Callable[[str], str]]] = {
    "file": ("path", lambda field: f"the absolute path of a file with {field}"),
    "otlp": ("collector", lambda field: f"HOST:PORT with {field}"),
}


def _check_destination(field: str, destination: JsonObject) -> Mistakes:
    to = destination.get("to", "stdout")
    for kind, (name, expected) in NEEDS.items():
        if to == kind and name not in destination:
            yield Mistake.expecting(expected(f"to: {kind}"), "nothing", f"write {name}", field=f"{field}.{name}")
        elif to != kind and name in destination:
            cure = f"remove it, or write to: {kind}"
            yield Mistake.expecting(f"no {name} without to: {kind}", "one", cure, field=f"{field}.{name}")
    if destination.get("format") == "text" and to != "file":
        cure = "gatewright run --log-format text makes text of what goes to stdout"
        yield Mistake.expecting("json but for a file", "text", cure, field=f"{field}.format")
