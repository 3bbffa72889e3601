def on_request(ctx):
    return None


async def prepare(params, *, limit):
    return None


def close(prepared, more):
    return None
