import colour

from .words import SAY


def on_request(ctx, params):
    return f"{SAY} {colour.VERSION}"
