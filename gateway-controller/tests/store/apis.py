"""Small APIs that tests of the store write."""

from __future__ import annotations

from collections.abc import Sequence

from gatewright_controller.model import Api, from_document


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
