def on_request(ctx, params):
    return "painted anew"
