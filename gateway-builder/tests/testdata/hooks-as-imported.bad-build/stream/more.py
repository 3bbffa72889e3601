async def on_request_stream(ctx, chunks, params):
    return b""
