"""Request headers that Envoy removes before anything reads them: what clients have no say in."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from gatewright_documents.values import JsonObject

from gatewright_controller.proxy_headers import NAMES, PREFIXES
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
    mutations = [_removed_prefix("x-envoy-"), _removed_prefix("x-gatewright-", kept_token)]
    names = ["x-forwarded-host"]  # routes set it to the host that the client named
    if request_id:
        names.append("x-request-id")
    if proxy_headers:
        mutations += [_removed_prefix(prefix, (*APPENDED, *passed)) for prefix in PREFIXES]
        names += [name for name in NAMES if name not in passed]
    return extension(
        "envoy.http.early_header_mutation.header_mutation",
        "extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        mutations=[*mutations, *({"remove": name} for name in names)],
    )


def _removed_prefix(prefix: str, kept: Sequence[str] = ()) -> JsonObject:
    """Removes all headers whose names begin with the prefix, but for those in `kept`."""
    rests = sorted({name.removeprefix(prefix) for name in kept if name.startswith(prefix)})
    matcher: JsonObject = {"prefix": prefix}
    if rests:
        # By the ^ RE2 knows what a name begins with, and compares no more of those that begin otherwise.
        matcher = {"safe_regex": {"regex": f"^{re.escape(prefix)}{_none_of(rests)}"}}
    return {"remove_on_match": {"key_matcher": matcher}}


def _none_of(names: Sequence[str]) -> str:
    """RE2, of all of a text: it is none of the names. RE2 cannot say "is not"."""
    if not names:
        return ".*"
    firsts = sorted({name[0] for name in names if name})
    longer = [re.escape(first) + _none_of([name[1:] for name in names if name.startswith(first)]) for first in firsts]
    other = f"[^{re.escape(''.join(firsts))}].*" if firsts else ".+"
    empty = "" if "" in names else "?"
    return f"({'|'.join([*longer, other])}){empty}"
