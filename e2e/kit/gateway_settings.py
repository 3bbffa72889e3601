"""Settings of a gateway's Gateway, changed by the management API: a reload of its file starts two processes for it."""

from __future__ import annotations

from e2e.kit.gateway import Gateway


def change_settings(gateway: Gateway, *, wait: bool = True, **members: object) -> None:
    """Replaces these members of `spec`, and removes those that are None. wait: until the change is deployed."""
    with gateway.controller() as controller:
        document = controller.get("/v1/gateway").json()
        document.pop("status")
        spec = document.get("spec", {}) | members
        document["spec"] = {name: member for name, member in spec.items() if member is not None}
        answer = controller.put("/v1/gateway", json=document, params={"wait": "15"} if wait else {})
    assert answer.is_success, answer.text
    assert not wait or answer.json()["status"]["state"] == "deployed", answer.text
