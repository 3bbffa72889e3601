"""What an API says of its upstreams."""

from __future__ import annotations

from collections.abc import Iterator

from gatewright_documents.mistake import Mistake

from gatewright_controller.private_upstreams import PrivateUpstreams
from gatewright_controller.upstream import UrlError, is_grpc, parse_url
from gatewright_controller.validation.draft import Draft, DraftUpstream


def check_upstreams(draft: Draft, upstreams: PrivateUpstreams) -> Iterator[Mistake]:
    """There is the one of operations that name none; each has a URL that can be read, and that publishers may name."""
    if draft.upstreams and "main" not in (one.name for one in draft.upstreams):
        names = ", ".join(one.name for one in draft.upstreams)
        yield Mistake("spec.upstream", f"expected one named main, which operations use that name none, got {names}")
    for upstream in draft.upstreams:
        yield from _check_upstream(upstream, upstreams)


def _check_upstream(upstream: DraftUpstream, upstreams: PrivateUpstreams) -> Iterator[Mistake]:
    if upstream.url is None:
        return
    try:
        refusal = upstreams.refusal(parse_url(upstream.url))
    except UrlError as error:
        refusal = str(error)
    if refusal:
        yield Mistake(f"{upstream.field}.url", refusal)
    elif is_grpc(upstream.url) and upstream.protocol in ("http1", "auto"):
        cure = "remove it, or write http:// or https://"
        got = f"got {upstream.protocol!r} with {upstream.url!r}"
        yield Mistake(f"{upstream.field}.protocol", f"expected http2 with a grpc:// or grpcs:// URL, {got}; {cure}")
