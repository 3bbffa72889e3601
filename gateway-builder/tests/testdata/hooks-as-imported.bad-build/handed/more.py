def on_request(ctx):
    return None
