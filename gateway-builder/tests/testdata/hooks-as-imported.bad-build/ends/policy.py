from .more import close, prepare, setup  # noqa: F401


def on_request(ctx, params):
    return None
