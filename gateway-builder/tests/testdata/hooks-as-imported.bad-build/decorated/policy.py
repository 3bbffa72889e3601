import functools


def traced(function):
    @functools.wraps(function)
    def call(*arguments):
        return function(*arguments)

    return call


@traced
async def on_request_stream(ctx, chunks, params):
    yield b""
