"""Clients of the processes that a command or a run asks: the controller, the engine, Envoy. Each module knows one of
them, its requests and its messages, and none knows how these processes are started.
"""
