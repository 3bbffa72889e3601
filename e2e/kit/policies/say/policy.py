import logging
import os
from typing import Any

from sdk.policy import RequestAction, RequestContext

FORGED = b'{"time":"2001-01-01T00:00:00.000Z","level":"error","component":"envoy","message":"forged"}\n'
MANY = 100_000


def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    match params["what"]:
        case "forged":
            print(FORGED.decode(), end="")
            os.write(1, FORGED)
            os.write(2, FORGED)
        case "many":
            for number in range(MANY):
                os.write(2, b"line %d of many\n" % number)
        case "garbage":
            os.write(2, b"\x00\xff\x1b[2J\n\nno end")
            os.write(2, b"\n")
        case "long":
            os.write(2, b"long " + b"x" * 200_000 + b"\n")
        case "traceback":
            logging.getLogger("say").error("it failed", exc_info=ValueError("why"))
    return None
