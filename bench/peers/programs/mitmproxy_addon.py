"""An addon for mitmdump: sets one header of each request and of each response."""

from mitmproxy.http import HTTPFlow


def request(flow: HTTPFlow) -> None:
    flow.request.headers["X-Peer"] = "1"


def response(flow: HTTPFlow) -> None:
    if flow.response:
        flow.response.headers["X-Peer"] = "1"
