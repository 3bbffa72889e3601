"""Kong's services and upstreams as pools of targets."""

from __future__ import annotations

from gatewright_controller.resource.upstream import UrlError, parse_url
from gatewright_documents.values import JsonObject

from gatewright_cli.kong.deck import Deck, Service
from gatewright_cli.kong.health import ejection, health_check
from gatewright_cli.kong.report import Report
from gatewright_cli.kong.source import Fields

SCHEMES = {"http": "http", "https": "https", "grpc": "grpc", "grpcs": "grpcs", "ws": "http", "wss": "https"}
TARGET_PORT = 8000
MOST_TARGETS = 256
MOST_ATTEMPTS = 10
KONG_MS = 60_000
RETRIES = 5
LONGEST_MS = 9_999_999
NOT_CARRIED = {
    "client_certificate": (
        "certificates are files of the operator",
        "name it in spec.certificates of the Gateway, and in tls.clientCertificate of the pool",
    ),
    "ca_certificates": (
        "authorities are files of the operator",
        "name it in spec.authorities of the Gateway, and in tls.authority of the pool",
    ),
    "tls_verify_depth": ("the depth of a chain has no limit of its own", ""),
    "tls_sans": ("the certificate must be for one name", "name it in tls.serverName"),
}  # fmt: skip


def pool_of(deck: Deck, service: Service) -> JsonObject | None:
    """The pool of a service; None if it cannot be one, which is reported and leaves its routes out."""
    fields, report = service.fields, deck.report
    scheme, host, port, path = _address(service)
    if scheme not in SCHEMES:
        report.left_out(
            fields.path, f"{scheme or 'no protocol'} is no protocol of APIs", "pass such connections by the gateway"
        )
        return None
    base = f"{SCHEMES[scheme]}://"
    pool: JsonObject
    upstream = deck.upstreams.get(host)
    if upstream is not None:
        targets = _targets(deck, host, base, path)
        if not targets:
            report.left_out(
                fields.path, f"its upstream {host} has no target", "add targets to the file, and import it again"
            )
            return None
        pool = {"targets": targets, **_upstream_settings(upstream, targets, report)}
    else:
        pool = {"url": f"{base}{_authority(host, port)}{path}"}
    try:
        for url in [pool["url"]] if "url" in pool else [target["url"] for target in pool["targets"]]:
            parse_url(url)
    except UrlError as error:
        report.left_out(fields.path, str(error), "correct host and path of the service")
        return None
    _report_tls(fields, scheme, report)
    return {**pool, "connectTimeout": _timeout(fields, "connect_timeout")}


def settings_of(service: Service, report: Report) -> JsonObject:
    """What an operation says of the service besides its pool: times and retries."""
    fields = service.fields
    settings: JsonObject = {}
    read, write = fields.whole("read_timeout", KONG_MS), fields.whole("write_timeout", KONG_MS)
    if read != KONG_MS:
        settings["requestTimeout"] = _timeout(fields, "read_timeout")
        reason = "requestTimeout is the time until the answer begins; idleTimeout limits the time between its parts"
        report.changed(fields.where("read_timeout"), reason, "set idleTimeout where answers may pause")
    if write != KONG_MS:
        cure = "set idleTimeout where uploads may pause"
        report.changed(fields.where("write_timeout"), "idleTimeout limits the time between parts of a request", cure)
    retries = fields.whole("retries", RETRIES)
    if retries > 0:
        settings["retries"] = {
            "conditions": ["connectFailure", "refusedStream", "reset"],
            "attempts": min(retries + 1, MOST_ATTEMPTS),
        }
    if retries + 1 > MOST_ATTEMPTS:
        report.changed(fields.where("retries"), f"a request is sent {MOST_ATTEMPTS} times at most, the first included")
    return settings


def _timeout(fields: Fields, key: str) -> str:
    milliseconds = max(1, fields.whole(key, KONG_MS))
    if milliseconds % 1000 == 0:
        return f"{min(milliseconds // 1000, LONGEST_MS)}s"
    return f"{milliseconds}ms" if milliseconds <= LONGEST_MS else f"{min(milliseconds // 1000, LONGEST_MS)}s"


def _address(service: Service) -> tuple[str, str, int, str]:
    """Protocol, host, port and path without a slash at its end; `url` is short for all four."""
    fields = service.fields
    url = fields.text("url")
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    host, colon, port = authority.rpartition(":")
    if not colon or not port.isdecimal() or authority.endswith("]"):
        host, port = authority, "443" if scheme in ("https", "grpcs", "wss") else "80"
    path = fields.text("path", slash + path).rstrip("/")
    return (
        fields.text("protocol", scheme or "http"),
        fields.text("host", host),
        fields.whole("port", int(port) if url else 80),
        path,
    )


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


def _targets(deck: Deck, name: str, base: str, path: str) -> list[JsonObject]:
    found: list[JsonObject] = []
    seen: set[str] = set()
    report = deck.report
    fields = [target for target in deck.targets[name] if _is_used(target, report)]
    largest = max((target.whole("weight", 100) for target in fields), default=1)
    for target in fields:
        address = target.text("target")
        host, colon, port = address.rpartition(":")
        if not colon or address.endswith("]") or not port.isdecimal():
            host, port = address, str(TARGET_PORT)
        authority = _authority(host, int(port))
        if authority in seen or len(found) == MOST_TARGETS:
            reason = (
                "another target has its address" if authority in seen else f"a pool has {MOST_TARGETS} targets at most"
            )
            report.left_out(target.path, reason)
            continue
        seen.add(authority)
        weight = target.whole("weight", 100)
        if largest > 1000:
            report.changed(target.where("weight"), "weights are at most 1000, and were scaled down")
            weight = max(1, weight * 1000 // largest)
        found.append({"url": f"{base}{authority}{path}", "weight": weight})
    return found


def _is_used(target: Fields, report: Report) -> bool:
    if target.has("failover") and target.flag("failover"):
        report.left_out(target.path, "a pool has no targets for the case that others fail", "make it a pool of its own")
        return False
    if target.whole("weight", 100) == 0:
        report.left_out(target.path, "its weight is 0: Kong sends it no request", "remove it")
        return False
    target.see("upstream")
    return True


def _upstream_settings(upstream: Fields, targets: list[JsonObject], report: Report) -> JsonObject:
    settings: JsonObject = {"loadBalancing": _balancing(upstream, report)}
    host = upstream.text("host_header")
    names = [target["url"].partition("://")[2].partition("/")[0] for target in targets]
    if not host and len(set(names)) > 1 and any(character.isalpha() for name in names for character in name):
        host = names[0]
        report.changed(
            upstream.where("name"),
            f"all its targets get the Host {host}; Kong sends each its own name",
            "set host_header",
        )
    if host:
        settings["host"] = host
    health = upstream.at("healthchecks")
    if check := health_check(health.at("active"), report):
        settings["healthCheck"] = check
    settings["ejection"] = ejection(health.at("passive"), report)
    for key, reason in (("slots", "there are no slots"), ("use_srv_name", "names of SRV records are not used")):
        if upstream.has(key):
            report.left_out(upstream.where(key), reason)
    if health.number("threshold"):
        report.left_out(health.where("threshold"), "a pool is served as long as one target is healthy")
    if upstream.has("client_certificate"):
        report.left_out(upstream.where("client_certificate"), *NOT_CARRIED["client_certificate"])
    return settings


def _balancing(upstream: Fields, report: Report) -> JsonObject:
    algorithm, hash_on = upstream.text("algorithm", "round-robin"), upstream.text("hash_on", "none")
    for key in ("hash_fallback", "hash_fallback_header", "hash_fallback_query_arg", "hash_fallback_uri_capture"):
        if upstream.text(key, "none") != "none":
            report.left_out(upstream.where(key), "a request without the hashed value goes to any target")
    if algorithm == "consistent-hashing" or (not upstream.has("algorithm") and hash_on != "none"):
        return _hashing(upstream, hash_on, report)
    if hash_on != "none":
        report.left_out(upstream.where("hash_on"), f"the algorithm {algorithm} does not hash")
    if algorithm in ("round-robin", "least-connections"):
        return {"algorithm": "roundRobin" if algorithm == "round-robin" else "leastRequest"}
    report.changed(
        upstream.where("algorithm"), f"instead of {algorithm}, the target with fewer requests under way is chosen"
    )
    return {"algorithm": "leastRequest"}


def _hashing(upstream: Fields, hash_on: str, report: Report) -> JsonObject:
    if hash_on == "header" and upstream.has("hash_on_header"):
        return {"algorithm": "ringHash", "hashOn": {"header": upstream.text("hash_on_header")}}
    if hash_on == "ip":
        return {"algorithm": "ringHash", "hashOn": {"clientAddress": True}}
    if hash_on == "cookie" and upstream.has("hash_on_cookie"):
        upstream.see("hash_on_cookie_path")
        report.changed(
            upstream.where("hash_on_cookie"),
            "a new cookie is kept for an hour; Kong's until the browser ends",
            "set cookieTtl",
        )
        return {"algorithm": "ringHash", "hashOn": {"cookie": upstream.text("hash_on_cookie"), "cookieTtl": "3600s"}}
    where = upstream.where("hash_on") if upstream.has("hash_on") else upstream.where("algorithm")
    reason = f"requests cannot be hashed by {hash_on}: the client's address is hashed"
    report.changed(where, reason, "hash by a header or a cookie")
    return {"algorithm": "ringHash", "hashOn": {"clientAddress": True}}


def _report_tls(fields: Fields, scheme: str, report: Report) -> None:
    if scheme in ("https", "grpcs", "wss"):
        if not fields.flag("tls_verify"):
            key = next((key for key in ("tls_verify", "protocol", "url") if fields.has(key)), "name")
            cure = "name the authority of the upstream in spec.authorities of the Gateway, and in tls.authority"
            report.changed(
                fields.where(key), "certificates of upstreams are always verified, which Kong does not by default", cure
            )
    else:
        fields.see("tls_verify")
    for key, (reason, cure) in NOT_CARRIED.items():
        if fields.value.get(key):
            report.left_out(fields.where(key), reason, cure)
