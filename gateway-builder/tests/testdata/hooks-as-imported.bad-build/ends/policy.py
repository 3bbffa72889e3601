from .more import close, prepare  # noqa: F401


def on_request(ctx, params):
    return None
