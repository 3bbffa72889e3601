"""Validation of an API's upstreams."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
from gatewright_documents.mistake import Mistake, shown
from msgspec import UNSET

from gatewright_controller.model import Api, HashOn, HealthCheck, Upstream, milliseconds
from gatewright_controller.resource.private_upstreams import PrivateUpstreams
from gatewright_controller.resource.upstream import UpstreamUrl, UrlError, is_grpc, parse_url
from gatewright_controller.validation.draft import Draft, DraftUpstream
from gatewright_controller.validation.listeners import GatewayNames

SHORTEST_MS = 100
"""Between two checks or two lookups: a pool must not become a load by itself."""


class _Target(msgspec.Struct, frozen=True):
    field: str
    text: str
    url: UpstreamUrl

    @property
    def scheme(self) -> str:
        return self.text.partition(":")[0].lower()


def check_upstreams(draft: Draft, upstreams: PrivateUpstreams, names: GatewayNames | None) -> Iterator[Mistake]:
    """Yields what keeps an upstream from being built of targets that publishers may name."""
    for drafted in draft.upstreams:
        targets: list[_Target] = []
        for found in _targets(drafted, upstreams):
            if isinstance(found, Mistake):
                yield found
            else:
                targets.append(found)
        yield from _check_alike(drafted, targets)
        yield from _check_balancing(drafted)
        yield from _check_weights(drafted)
        if drafted.upstream.health_check:
            yield from _check_health(drafted, drafted.upstream.health_check, targets)
        yield from _check_tls(drafted, targets, names)
        yield from _check_dns(drafted, targets)
        yield from _check_keepalive(drafted)


def names_private_upstream(api: Api, upstreams: PrivateUpstreams) -> bool:
    """Whether the API, which was valid once, has a target that publishers may not name."""
    for upstream in api.spec.upstreams.values():
        urls = [
            *([upstream.url] if upstream.url is not UNSET else []),
            *(target.url for target in upstream.targets or []),
        ]
        if any(upstreams.refusal(parse_url(url, upstream.protocol or None)) for url in urls):
            return True
    return False


def _targets(drafted: DraftUpstream, upstreams: PrivateUpstreams) -> Iterator[_Target | Mistake]:
    upstream = drafted.upstream
    if {"url", "targets"} <= drafted.keys:
        yield Mistake(drafted.field, "expected url, for one target, or targets, for several, got both; keep one")
    elif not {"url", "targets"} & drafted.keys:
        yield Mistake(f"{drafted.field}.url", "expected a URL, or targets with several, got nothing")
    named = [(f"{drafted.field}.url", upstream.url)] if upstream.url is not UNSET else []
    if upstream.targets is not UNSET:
        named += [
            (f"{drafted.field}.targets[{index}].url", target.url) for index, target in enumerate(upstream.targets)
        ]
    for field, text in named:
        try:
            url = parse_url(text, upstream.protocol or None)
            refusal = upstreams.refusal(url)
        except UrlError as error:
            refusal = str(error)
        yield Mistake(field, refusal) if refusal else _Target(field, text, url)


def _check_alike(drafted: DraftUpstream, targets: Sequence[_Target]) -> Iterator[Mistake]:
    """All targets of a pool have one scheme, one base path and one protocol, and are named once."""
    first: dict[tuple[str, int, str], _Target] = {}
    for target in targets:
        if (target.scheme, target.url.base) != (targets[0].scheme, targets[0].url.base):
            first_target = f"{targets[0].scheme}:…{targets[0].url.base}"
            expected = f"expected the scheme and the base path of the first target, {first_target}"
            yield Mistake(target.field, f"{expected}, got {target.text!r}; make it a pool of its own")
        earlier = first.setdefault((target.url.host, target.url.port, target.url.socket), target)
        if earlier is not target:
            yield Mistake(target.field, f"expected each target once, got {target.text!r}, which {earlier.field} is too")
    if targets and is_grpc(targets[0].text) and drafted.upstream.protocol in ("http1", "auto"):
        cure = "remove it, or write http:// or https://"
        got = f"got {drafted.upstream.protocol!r} with {targets[0].text!r}"
        yield Mistake(f"{drafted.field}.protocol", f"expected http2 with a grpc:// or grpcs:// URL, {got}; {cure}")
    if targets and targets[0].url.secure and drafted.upstream.protocol == "auto" and drafted.upstream.proxy_protocol:
        expected = "expected http1 or http2 with proxyProtocol, behind which Envoy does not negotiate"
        yield Mistake(f"{drafted.field}.protocol", f"{expected}, got 'auto'")
    names = sorted({target.url.host for target in targets if not target.url.is_address})
    if len(names) > 1 and "host" not in drafted.keys:
        expected = "expected the Host header that all targets are sent, for they have different names"
        yield Mistake(f"{drafted.field}.host", f"{expected} ({', '.join(names)}), got nothing")
    port = (drafted.upstream.host or "").rpartition("]")[2].rpartition(":")[2]
    if port.isdigit() and ":" in (drafted.upstream.host or "") and int(port) > 65535:
        yield Mistake(f"{drafted.field}.host", f"expected a port from 1 to 65535, got {drafted.upstream.host!r}")


def _check_balancing(drafted: DraftUpstream) -> Iterator[Mistake]:
    balancing, field = drafted.upstream.load_balancing, f"{drafted.field}.loadBalancing.hashOn"
    if balancing.algorithm != "ringHash" and balancing.hash_on:
        yield Mistake(field, f"expected none with algorithm {balancing.algorithm}, got one; remove it, or say ringHash")
    elif balancing.algorithm == "ringHash" and not balancing.hash_on:
        yield Mistake(field, "expected header, cookie or clientAddress with algorithm ringHash, got nothing")
    elif balancing.hash_on:
        yield from _check_hash_on(balancing.hash_on, field)


def _check_weights(drafted: DraftUpstream) -> Iterator[Mistake]:
    if drafted.upstream.load_balancing.algorithm != "random":
        return
    for index, target in enumerate(drafted.upstream.targets or []):
        if target.weight != 1:
            expected = "expected none with algorithm random, which has no weights"
            cure = "remove it, or say roundRobin"
            yield Mistake(f"{drafted.field}.targets[{index}].weight", f"{expected}, got {target.weight}; {cure}")


def _check_hash_on(hash_on: HashOn, field: str) -> Iterator[Mistake]:
    kinds = {"header": hash_on.header, "cookie": hash_on.cookie, "clientAddress": hash_on.client_address}
    named = [name for name, value in kinds.items() if value is not UNSET]
    if len(named) != 1:
        yield Mistake(field, f"expected one of {', '.join(kinds)}, got {' and '.join(named) or 'none'}")
    if hash_on.cookie_ttl and not hash_on.cookie:
        yield Mistake(f"{field}.cookieTtl", "expected none without cookie, got one; remove it")


def _check_health(drafted: DraftUpstream, check: HealthCheck, targets: Sequence[_Target]) -> Iterator[Mistake]:
    field = f"{drafted.field}.healthCheck"
    kinds = {"http": check.http, "grpc": check.grpc, "tcp": check.tcp}
    named = [name for name, value in kinds.items() if value is not UNSET]
    if len(named) != 1:
        yield Mistake(field, f"expected one of {', '.join(kinds)}, got {' and '.join(named) or 'none'}")
    if check.grpc and targets and targets[0].url.protocol != "http2":
        got = f"got protocol {targets[0].url.protocol}; say protocol: http2"
        yield Mistake(f"{field}.grpc", f"expected a pool that speaks http2, {got}")
    yield from _at_least(f"{field}.interval", check.interval)
    for index, statuses in enumerate(check.http.expected_statuses if check.http else []):
        first, _, last = statuses.partition("-")
        if last and last < first:
            yield Mistake(f"{field}.http.expectedStatuses[{index}]", f"expected {last}-{first}, got {statuses!r}")


def _check_tls(drafted: DraftUpstream, targets: Sequence[_Target], names: GatewayNames | None) -> Iterator[Mistake]:
    field, tls = f"{drafted.field}.tls", drafted.upstream.tls
    if "tls" in drafted.keys and targets and not targets[0].url.secure:
        yield Mistake(
            field, f"expected none with {targets[0].text!r}, got one; write https:// or grpcs://, or remove it"
        )
    if names is None:
        return
    for name, key, known in (
        (tls.authority, "authority", names.authorities),
        (tls.client_certificate, "clientCertificate", names.certificates),
    ):
        if name is not UNSET and name not in known:
            expected = f"expected one that the Gateway names ({', '.join(sorted(known)) or 'it names none'})"
            yield Mistake(f"{field}.{key}", f"{expected}, got {shown(name)}")


def _check_dns(drafted: DraftUpstream, targets: Sequence[_Target]) -> Iterator[Mistake]:
    field, dns = f"{drafted.field}.dns", drafted.upstream.dns
    yield from _at_least(f"{field}.refresh", dns.refresh)
    if dns.discovery == "logical" and len(targets) > 1:
        yield Mistake(f"{field}.discovery", f"expected strict with {len(targets)} targets, got 'logical'")
    socket = next((target for target in targets if target.url.socket), None)
    if socket and any(not target.url.is_address for target in targets):
        yield Mistake(socket.field, f"expected no Unix socket beside targets with names, got {socket.text!r}")


def _check_keepalive(drafted: DraftUpstream) -> Iterator[Mistake]:
    upstream: Upstream = drafted.upstream
    if not upstream.tcp_keepalive:
        return
    for name, value in (("time", upstream.tcp_keepalive.time), ("interval", upstream.tcp_keepalive.interval)):
        if milliseconds(value) % 1000:
            yield Mistake(f"{drafted.field}.tcpKeepalive.{name}", f"expected whole seconds, got {value!r}")


def _at_least(field: str, text: str) -> Iterator[Mistake]:
    if milliseconds(text) < SHORTEST_MS:
        yield Mistake(field, f"expected at least {SHORTEST_MS}ms, got {text!r}")
