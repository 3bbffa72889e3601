"""Asks servers of the network by TCP and by UDP; see the policy hostile."""

import json
import socket
from typing import Any

from sdk.policy import ImmediateResponse, RequestAction, RequestContext


def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    port = json.loads(ctx.headers["x-where"])["ports"]["elsewhere"]
    result: dict[str, dict[str, str]] = {"reached": {}, "refused": {}}
    for name, kind in (("TCP", socket.SOCK_STREAM), ("UDP", socket.SOCK_DGRAM)):
        try:
            with socket.socket(socket.AF_INET, kind) as client:
                client.settimeout(3.0)
                client.connect(("127.0.0.1", port))
                client.sendall(b"hello")
            result["reached"][name] = "connected"
        except OSError as error:
            result["refused"][name] = str(error)
    return ImmediateResponse(200, body=json.dumps(result).encode())
