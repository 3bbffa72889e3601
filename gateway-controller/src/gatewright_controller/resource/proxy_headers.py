"""Request headers by which proxies describe the client before them to an upstream: its address, its TLS, its URL.

Frameworks believe them, so a client that writes one itself chooses its own address, certificate or path. The gateway
takes them away from every client that is no trusted proxy. `x-forwarded-for`, `-proto`, `-host` and `-client-cert` are
not among them: Envoy writes or removes these itself.
"""

from __future__ import annotations

NAMES = (
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "client-ip",
    "fastly-client-ip",
    "forwarded",  # RFC 7239; frameworks prefer it to x-forwarded-for
    "front-end-https",
    "proxy",  # HTTP_PROXY in CGI's environment: https://httpoxy.org
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-forwarded",
    "x-original-forwarded-for",
    "x-original-host",
    "x-original-uri",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
    "x-scheme",
    "x-url-scheme",
)
PREFIXES = ("ssl-client-", "x-forwarded-", "x-ssl-")
"""Names that begin with one of these are proxy headers too."""
ALWAYS_SET = ("x-forwarded-client-cert", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto")
"""Headers that the gateway writes or removes itself, whatever a client sends."""


def is_proxy_header(name: str) -> bool:
    """Whether only a trusted proxy may send the header. name: in lower case."""
    return name not in ALWAYS_SET and (name in NAMES or name.startswith(PREFIXES))
