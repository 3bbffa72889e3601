"""What an API says of its upstreams."""

from __future__ import annotations

from collections.abc import Iterator

from gatewright_documents.mistake import Mistake

from gatewright_controller.private_upstreams import PrivateUpstreams
from gatewright_controller.upstream import UrlError, is_grpc, parse_url
from gatewright_controller.validation.draft import Draft


def check_upstreams(draft: Draft, upstreams: PrivateUpstreams) -> Iterator[Mistake]:
    """Each has a URL that can be read, and that publishers may name."""
    if draft.url is None:
        return
    try:
        refusal = upstreams.refusal(parse_url(draft.url))
    except UrlError as error:
        refusal = str(error)
    if refusal:
        yield Mistake("spec.upstream.main.url", refusal)
    elif is_grpc(draft.url) and draft.protocol in ("http1", "auto"):
        cure = "remove it, or write http:// or https://"
        got = f"got {draft.protocol!r} with {draft.url!r}"
        yield Mistake("spec.upstream.main.protocol", f"expected http2 with a grpc:// or grpcs:// URL, {got}; {cure}")
