def prepare(params, metadata):
    yield None


def setup(params):
    yield None


def close(prepared):
    return None
