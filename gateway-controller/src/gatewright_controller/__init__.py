"""Validates API definitions, keeps them, and brings them to the nodes.

A request comes in at `management` and goes on to `apis` or `gateway`; `store` keeps what was written, and `nodes` sends
what `translate` makes of it. Rooms below know none above them (import-linter in the root's pyproject.toml):

    server, opening, settings       the process
    management                      the API over HTTP; beside it inspector, the web page
    apis, gateway                   what a write of either does
    acme                            certificates by ACME
    nodes, store                    the nodes' streams; what is kept
    validation, translate           all mistakes of a document; what a node is sent for it
    resource                        paths, hosts, matches, upstreams, versions, secrets: what resources say
    model                           the resources themselves
    local                           sockets, private files, logs, metrics
"""

API_DOCUMENT = "an object with apiVersion, kind, metadata and spec"
"""What a document of an API is, in the words of mistakes. Here, so that nothing else is loaded for it."""
