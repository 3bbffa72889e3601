"""The request that clients send."""

from __future__ import annotations

from collections.abc import Mapping

HEADERS = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36",
    "Accept": "application/json, text/plain, */*",
    "Accept-Encoding": "gzip, deflate, br",
    "Accept-Language": "en-US,en;q=0.9",
    "Authorization": "Bearer " + "eyJhbGciOiJSUzI1NiJ9." * 14,
    "Content-Type": "application/json",
    "X-Tenant": "acme",
    "Traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "X-Internal": "1",
}
"""Headers of a browser, which cost something at each policy and each hop."""


def with_headers(sent: Mapping[str, str]) -> dict[str, str]:
    """HEADERS with those that a row sends. A name may be written in another case."""
    names = {name.lower() for name in sent}
    return {name: value for name, value in HEADERS.items() if name.lower() not in names} | dict(sent)
