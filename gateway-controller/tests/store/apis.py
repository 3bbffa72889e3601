"""Small APIs that tests of the store write."""

from __future__ import annotations

from collections.abc import Sequence

from gatewright_controller.model import Api, from_document, to_document


def attached(name: str, context: str, *names: str) -> Api:
    """An API that routes of another Envoy name so."""
    document = to_document(api(name, context))
    del document["spec"]["upstream"]
    document["spec"]["attachTo"] = [*names]
    return from_document(document)


def api(name: str, context: str, hosts: Sequence[str] = (), listeners: Sequence[str] = ()) -> Api:
    return from_document(
        {
            "apiVersion": "gatewright.dev/v1",
            "kind": "Api",
            "metadata": {"name": name},
            "spec": {
                "version": "v1",
                "context": context,
                "hosts": list(hosts),
                "listeners": list(listeners),
                "upstream": {"main": {"url": "http://orders"}},
                "operations": [{"method": "GET", "path": "/"}],
            },
        }
    )
