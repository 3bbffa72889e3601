"""Request headers that Envoy removes before anything reads them: what clients have no say in."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from gatewright_documents.values import JsonObject

from gatewright_controller.resource.proxy_headers import NAMES, PREFIXES
from gatewright_controller.translate.envoy.messages import extension
from gatewright_controller.translate.envoy.traces import PRESENTED_IN

APPENDED = ("x-forwarded-for",)
"""Envoy adds the client's address behind what is there."""


def removed_headers(*, proxy_headers: bool, passed: Collection[str], request_id: bool, trace_token: bool) -> JsonObject:
    """An early header mutation: no filter, route or policy sees the headers that it removes.

    proxy_headers: those of `proxy_headers.py` too, but for `passed`. request_id: `x-request-id`, so that Envoy makes
    one. trace_token: the header that forces a trace; else the first filter removes it.
    """
    kept_token = () if trace_token else (PRESENTED_IN,)
    patterns = [_prefix("x-envoy-"), _prefix("x-gatewright-", kept_token)]
    if proxy_headers:
        patterns.append(_proxy_headers(passed))
    names = ["x-forwarded-host", *(["x-request-id"] if request_id else [])]  # routes set the first: the client's host
    return extension(
        "envoy.http.early_header_mutation.header_mutation",
        "extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        mutations=[
            *({"remove_on_match": {"key_matcher": pattern}} for pattern in patterns),
            *({"remove": name} for name in names),
        ],
    )


def _prefix(prefix: str, kept: Sequence[str] = ()) -> JsonObject:
    """Names that begin with the prefix, but for those in `kept`."""
    return {"safe_regex": {"regex": _all_but(prefix, kept)}} if kept else {"prefix": prefix}


def _proxy_headers(passed: Collection[str]) -> JsonObject:
    """All of them in one pattern, which costs a request less than a removal of each name."""
    names = [re.escape(name) for name in NAMES if name not in passed]
    longer = [_all_but(prefix, (*APPENDED, *passed)) for prefix in PREFIXES]
    return {"safe_regex": {"regex": "|".join([*names, *longer])}}


def _all_but(prefix: str, kept: Collection[str]) -> str:
    """RE2, of all of a name: it begins with the prefix, and is none of those in `kept`."""
    return re.escape(prefix) + _none_of(sorted({name.removeprefix(prefix) for name in kept if name.startswith(prefix)}))


def _none_of(names: Sequence[str]) -> str:
    """RE2, of all of a text: it is none of the names. RE2 cannot say "is not"."""
    if not names:
        return ".*"
    firsts = sorted({name[0] for name in names if name})
    longer = [re.escape(first) + _none_of([name[1:] for name in names if name.startswith(first)]) for first in firsts]
    other = f"[^{re.escape(''.join(firsts))}].*" if firsts else ".+"
    empty = "" if "" in names else "?"
    return f"({'|'.join([*longer, other])}){empty}"
