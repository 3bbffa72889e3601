def prepare(params, metadata):
    yield None


def close(prepared):
    return None
