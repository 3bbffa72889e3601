def on_requests(ctx, params):
    return None
