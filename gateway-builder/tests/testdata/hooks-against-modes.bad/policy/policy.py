def on_response(ctx, params):
    return None
