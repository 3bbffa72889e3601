"""Plugins about traffic: limits, CORS, caches, answers, ids."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from gatewright_documents.values import JsonObject

from gatewright_cli.kong.attachments import NoCounterpartError, Scene, attach, leave_out
from gatewright_cli.kong.deck import Plugin
from gatewright_cli.kong.expressions import cel_text

PERIODS = {"second": "1s", "minute": "1m", "hour": "1h", "day": "1d"}
MOST_LIMITS = 4
METHODS = ("GET", "HEAD", "PUT", "PATCH", "POST", "DELETE", "OPTIONS", "TRACE", "CONNECT")
CACHED = ("200", "203", "204", "300", "301", "308", "404", "405", "410", "414", "501")
PLAIN_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\*\.)?[A-Za-z0-9.:-]+")
UNITS = {"megabytes": 1024**2, "kilobytes": 1024, "bytes": 1}
WINDOWS = (
    "requests are spread evenly, with as many at once after a pause, and not counted by the clock; each API counts by "
    "itself, and so does an operation with an attachment of its own; answers have RateLimit and RateLimit-Policy"
)
REDIS = ("nodes count together by the Valkey of the Gateway", "name it in spec.store of the Gateway")
REDIS_KEYS = (
    "redis", "redis_host", "redis_port", "redis_password", "redis_username", "redis_timeout", "redis_database",
    "redis_ssl", "redis_ssl_verify", "redis_server_name",
)  # fmt: skip


def rate_limiting(plugin: Plugin, scene: Scene) -> list[JsonObject]:
    """rate-limit, and quota for a month."""
    config, report = plugin.config, scene.report
    limits = [
        {"requests": requests, "per": per, "name": period}
        for period, per in PERIODS.items()
        if (requests := int(config.number(period))) > 0
    ]
    for period in PERIODS:
        if config.number(period):
            report.changed(config.where(period), WINDOWS)
    shared = _shared(plugin, scene)
    found = [attach("rate-limit", {"limits": limits, **shared})] if limits else []
    if month := int(config.number("month")):
        report.changed(
            config.where("month"), "the policy quota counts calendar months, in the Valkey of the Gateway if it has one"
        )
        found.append(attach("quota", {"requests": month, "period": "month", "key": shared["key"]}))
    if config.number("year"):
        report.left_out(config.where("year"), "there is no quota of a year", "take a twelfth as month")
    leave_out(plugin, report, error_message=("the answer's text is the gateway's", ""))
    if config.whole("error_code", 429) != 429:
        report.left_out(config.where("error_code"), "the answer is 429", "")
    config.see("sync_rate", *REDIS_KEYS)
    return found


def rate_limiting_advanced(plugin: Plugin, scene: Scene) -> list[JsonObject]:
    """rate-limit, with windows of any length."""
    config, report = plugin.config, scene.report
    pairs = list(zip(config.wholes("limit"), config.wholes("window_size"), strict=False))
    if len(pairs) > MOST_LIMITS:
        report.left_out(
            config.where("limit"), f"rate-limit has {MOST_LIMITS} limits at most: the first ones are attached"
        )
    report.changed(config.where("window_size"), WINDOWS)
    config.see("strategy", "sync_rate", "namespace", "dictionary_name", "window_type", *REDIS_KEYS)
    leave_out(
        plugin, report, error_message=("the answer's text is the gateway's", ""),
        consumer_groups=("groups have plugins of their own", "attach the plugin to each group"),
        enforce_consumer_groups=("groups have plugins of their own", "attach the plugin to each group"),
        disable_penalty=("refused requests use nothing up", ""), retry_after_jitter_max=("there is no jitter", ""),
    )  # fmt: skip
    limits = [{"requests": limit, "per": f"{seconds}s"} for limit, seconds in pairs[:MOST_LIMITS]]
    if not limits:
        raise NoCounterpartError("it has no limit and window_size", "set both")
    return [attach("rate-limit", {"limits": limits, **_shared(plugin, scene)})]


def _shared(plugin: Plugin, scene: Scene) -> JsonObject:
    """What both kinds of limits say: key, scope, headers."""
    config = plugin.config
    params: JsonObject = {"key": _key(plugin, scene)}
    if config.text("policy", config.text("strategy", "local")) in ("cluster", "redis"):
        params["scope"] = "global"
        params["whenUnavailable"] = "allow" if config.flag("fault_tolerant", True) else "refuse"
        where = "policy" if config.has("policy") else "strategy"
        scene.report.changed(config.where(where), *REDIS)
    config.see("fault_tolerant")
    if config.flag("hide_client_headers"):
        params["headers"] = False
    return params


def _key(plugin: Plugin, scene: Scene) -> list[JsonObject]:
    config = plugin.config
    field = "identifier" if config.has("identifier") else "limit_by"
    limit_by = config.text(field, "consumer")
    config.see("header_name", "path")
    if limit_by == "header" and config.has("header_name"):
        return [{"from": "header", "name": config.text("header_name")}]
    if limit_by == "service":
        return []
    if limit_by == "ip" or (limit_by in ("consumer", "credential") and not scene.is_identified):
        return [{"from": "client"}]
    if limit_by in ("consumer", "credential"):
        return [{"from": "identity"}]
    scene.report.changed(config.where(field), f"requests are counted by the client's address, and not by {limit_by}")
    return [{"from": "client"}]


def cors(plugin: Plugin, scene: Scene) -> list[JsonObject]:
    """cors."""
    config, report = plugin.config, scene.report
    origins, credentials = _origins(plugin, scene), config.flag("credentials")
    if credentials and "*" in origins:
        credentials = False
        cure = "name the origins whose pages may send credentials"
        report.left_out(config.where("credentials"), "credentials are allowed to named origins only", cure)
    if not origins:
        raise NoCounterpartError("none of its origins is a plain one", "name the origins in allowOrigins")
    methods = config.texts("methods") or METHODS
    params: JsonObject = {
        "allowOrigins": origins,
        "allowMethods": [method for method in methods if method not in ("CONNECT", "TRACE")],
        "allowHeaders": config.texts("headers") or ["*"],
    }
    if config.texts("exposed_headers"):
        params["exposeHeaders"] = config.texts("exposed_headers")
    if config.has("max_age"):
        params["maxAgeSeconds"] = max(0, min(int(config.number("max_age")), 86_400))
    if config.flag("private_network"):
        params["allowPrivateNetwork"] = True
    leave_out(
        plugin,
        report,
        preflight_continue=("the gateway answers preflight requests", "attach no cors where the upstream does"),
    )
    config.see("allow_origin_absent")
    return [attach("cors", {**params, **({"allowCredentials": True} if credentials else {})})]


def _origins(plugin: Plugin, scene: Scene) -> list[str]:
    config = plugin.config
    origins = config.texts("origins")
    found = []
    for index, origin in enumerate(origins):
        if origin == "*" or PLAIN_ORIGIN.fullmatch(origin):
            found.append(origin.lower())
        else:
            cure = "name the origins, with *. before a host for all below it"
            scene.report.left_out(config.where("origins", index), "an origin is no regular expression", cure)
    return found if origins else ["*"]


def request_termination(plugin: Plugin, scene: Scene) -> list[JsonObject]:
    """respond."""
    config = plugin.config
    status = config.whole("status_code", 503)
    if status < 200:
        scene.report.changed(config.where("status_code"), f"the answer is 503: {status} is none by itself")
    message = config.text("message")
    params: JsonObject = {"statusCode": status if status >= 200 else 503}
    if config.text("body"):
        params |= {
            "body": config.text("body"),
            "contentType": config.text("content_type", "application/json; charset=utf-8"),
        }
    else:
        text = json.dumps({"message": message or "Service unavailable"}, ensure_ascii=False)
        params |= {"body": text, "contentType": "application/json; charset=utf-8"}
    if params["statusCode"] in (204, 304):
        params = {"statusCode": params["statusCode"]}
    leave_out(
        plugin, scene.report, echo=("the answer does not repeat the request", ""), echo_trigger=("there is no echo", "")
    )
    trigger = config.text("trigger")
    name = cel_text(trigger)
    return [
        attach("respond", params, f"{name} in request.headers || size(request.query[{name}]) > 0" if trigger else "")
    ]


def request_size_limiting(plugin: Plugin, scene: Scene) -> list[JsonObject]:
    """respond, by the header content-length."""
    config = plugin.config
    most = config.whole("allowed_payload_size", 128) * UNITS.get(config.text("size_unit", "megabytes"), 1)
    cure = "have the upstream limit such bodies, or write a policy that reads them, with maxBodyBytes"
    scene.report.changed(plugin.fields.where("name"), "a body without content-length is not limited by it", cure)
    too_large = f'"content-length" in request.headers && int(request.headers["content-length"]) > {most}'
    body = json.dumps({"message": "Request size limit exceeded"})
    found = [
        attach(
            "respond", {"statusCode": 413, "body": body, "contentType": "application/json; charset=utf-8"}, too_large
        )
    ]
    if config.flag("require_content_length"):
        lacks = '!("content-length" in request.headers) && request.method in ["POST", "PUT", "PATCH"]'
        found.insert(0, attach("respond", {"statusCode": 411}, lacks))
    return found


def correlation_id(plugin: Plugin, scene: Scene) -> list[JsonObject]:
    """request-id."""
    config = plugin.config
    header = config.text("header_name", "Kong-Request-ID")
    generator = config.text("generator", "uuid#counter")
    if header.lower() == "x-request-id":
        raise NoCounterpartError(
            "x-request-id has the gateway's own id of each request", "use that one, or another header"
        )
    if generator != "uuid":
        where = "generator" if config.has("generator") else "header_name"
        place = config.where(where) if config.has(where) else plugin.fields.where("name")
        scene.report.changed(place, f"ids are UUIDs, and not of the form {generator}")
    params = {"header": header, "format": "uuidv4", "accept": "[!-~]{1,256}", "echo": config.flag("echo_downstream")}
    return [attach("request-id", params)]


def proxy_cache(plugin: Plugin, scene: Scene) -> list[JsonObject]:
    """response-cache, by RFC 9111."""
    config, report = plugin.config, scene.report
    lifetime = max(1, min(config.whole("cache_ttl", 300), 86_400))
    statuses = [str(status) for status in config.wholes("response_code") or (200, 301, 404)]
    reason = "responses to GET are cached by RFC 9111: by their own Cache-Control, by which clients may be told apart"
    report.changed(plugin.fields.where("name"), reason, "have the upstream say Cache-Control: public, max-age=…")
    for index, status in enumerate(config.wholes("response_code")):
        if str(status) not in CACHED:
            report.left_out(config.where("response_code", index), f"responses with {status} are not cached")
    leave_out(
        plugin, report, request_method=("responses to GET are cached", ""),
        content_type=("responses are cached whatever their content type", "have the upstream say no-store"),
        vary_query_params=("each query is another URL", ""), storage_ttl=("a lifetime is one number", ""),
        ignore_uri_case=("/A is another path than /a", ""), response_headers=("answers have Cache-Status", ""),
        bypass_on_err=("requests go upstream while a store does not answer", ""), redis=REDIS,
    )  # fmt: skip
    config.see("cache_control", "memory")
    params: JsonObject = {"lifetimes": {status: lifetime for status in statuses if status in CACHED}}
    if config.text("strategy", "memory") != "memory":
        params["where"] = "store"
        report.changed(config.where("strategy"), *REDIS)
    if headers := config.texts("vary_headers"):
        params["vary"] = _vary(headers)
    return [attach("response-cache", params)]


def _vary(headers: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(["accept-encoding", *(header.lower() for header in headers)]))[:8]
