def on_request(ctx, params):
    yield None
