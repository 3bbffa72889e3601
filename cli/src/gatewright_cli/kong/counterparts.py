"""Kong's plugins: the policies that take their places, and what to do about the others.

A plugin that lets clients in, or refuses requests, is never just dropped: where it has no counterpart, its routes are
closed by an answer until a person attaches another policy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gatewright_documents.values import JsonObject

from gatewright_cli.kong import authentication, traffic, transformers
from gatewright_cli.kong.attachments import Scene
from gatewright_cli.kong.deck import Plugin

Converter = Callable[[Plugin, Scene], list[JsonObject]]


@dataclass(frozen=True)
class Counterpart:
    """policies: in words. guards: whether a request might pass without it that Kong refuses."""

    policies: str
    convert: Converter
    guards: bool = True


COUNTERPARTS: dict[str, Counterpart] = {
    "acl": Counterpart("cel-authz", authentication.acl),
    "basic-auth": Counterpart("basic-auth", authentication.basic_auth),
    "bot-detection": Counterpart("cel-authz", authentication.bot_detection),
    "correlation-id": Counterpart("request-id", traffic.correlation_id, guards=False),
    "cors": Counterpart("cors", traffic.cors, guards=False),
    "ip-restriction": Counterpart("ip-restriction", authentication.ip_restriction),
    "jwt": Counterpart("jwt-auth", authentication.jwt),
    "key-auth": Counterpart("api-key-auth", authentication.key_auth),
    "key-auth-enc": Counterpart("api-key-auth", authentication.key_auth),
    "oauth2-introspection": Counterpart("oauth2-introspection", authentication.oauth2_introspection),
    "opa": Counterpart("opa-authz", authentication.opa),
    "proxy-cache": Counterpart("response-cache", traffic.proxy_cache, guards=False),
    "rate-limiting": Counterpart("rate-limit, and quota for a month", traffic.rate_limiting, guards=False),
    "rate-limiting-advanced": Counterpart("rate-limit", traffic.rate_limiting_advanced, guards=False),
    "request-size-limiting": Counterpart("respond", traffic.request_size_limiting, guards=False),
    "request-termination": Counterpart("respond", traffic.request_termination),
    "request-transformer": Counterpart("set-headers, rewrite", transformers.request_transformer, guards=False),
    "request-transformer-advanced": Counterpart("set-headers, rewrite", transformers.request_transformer, guards=False),
    "response-transformer": Counterpart("set-headers", transformers.response_transformer, guards=False),
    "response-transformer-advanced": Counterpart("set-headers", transformers.response_transformer, guards=False),
}
IDENTIFYING = {"basic-auth", "jwt", "key-auth", "key-auth-enc", "oauth2-introspection"}
"""Plugins whose policies set the identity."""
LOG = "the node has an access log of all requests: set spec.accessLog.destinations of the Gateway"
OBSERVERS: dict[str, str] = {
    "datadog": "the node has metrics at its admin listener",
    "file-log": LOG,
    "http-log": LOG,
    "loggly": LOG,
    "opentelemetry": "set spec.tracing of the Gateway",
    "prometheus": "the node has metrics for Prometheus at its admin listener",
    "statsd": "the node has metrics at its admin listener",
    "syslog": LOG,
    "tcp-log": LOG,
    "udp-log": LOG,
    "zipkin": "set spec.tracing of the Gateway",
}
"""Left out without a loss for requests, with the cure."""
CURES: dict[str, str] = {
    "aws-lambda": "have the function behind a URL, as an upstream",
    "canary": "set split of the operations",
    "grpc-web": "there is no translation of gRPC-Web",
    "hmac-auth": "see hmac-auth for signatures over bodies",
    "ldap-auth": "write a policy that asks the directory: `gatewright new policy NAME --async`",
    "mtls-auth": "attach mtls-auth, and set clientCertificates of the listener",
    "oauth2": "use an authorization server, with jwt-auth or oauth2-introspection",
    "openid-connect": "attach jwt-auth for tokens, or oidc-login for people",
    "post-function": "write it in Python: `gatewright new policy NAME`",
    "pre-function": "write it in Python: `gatewright new policy NAME`",
    "request-validator": "attach validate-request with the schema",
    "response-ratelimiting": "attach quota, or write a policy",
    "session": "attach oidc-login",
    "upstream-timeout": "set requestTimeout of the operations",
}
"""Further plugins that people ask for; a plugin that is not listed is treated like them."""
PRIORITIES: dict[str, int] = {
    "pre-function": 1_000_000, "correlation-id": 100_001, "zipkin": 100_000, "bot-detection": 2_500, "cors": 2_000,
    "session": 1_900, "oauth2-introspection": 1_700, "mtls-auth": 1_600, "jwt": 1_450, "oauth2": 1_400,
    "key-auth": 1_250, "key-auth-enc": 1_250, "ldap-auth": 1_200, "basic-auth": 1_100, "hmac-auth": 1_030,
    "openid-connect": 1_050, "request-validator": 999, "ip-restriction": 990, "request-size-limiting": 951, "acl": 950,
    "opa": 920, "rate-limiting-advanced": 910, "rate-limiting": 910, "response-ratelimiting": 900,
    "request-transformer-advanced": 802, "request-transformer": 801, "response-transformer-advanced": 800,
    "response-transformer": 800, "proxy-cache": 100, "request-termination": 2,
}  # fmt: skip
"""Of Kong 3, https://developer.konghq.com/gateway/entities/plugin/: the highest runs first."""
