"""Mistakes of publishers are refused at once, all together, and running APIs stay."""

from __future__ import annotations

import httpx

from e2e.kit.gateway import Gateway, api, attach, mistakes_of
from e2e.kit.scraping import address
from e2e.kit.upstream import Upstream


def test_an_unknown_policy_lists_the_known_ones(gateway: Gateway, upstream: Upstream) -> None:
    errors = mistakes_of(gateway, api("bad", upstream.url, [attach("no-such-policy")]))
    assert "log-message" in errors["spec.policies[0].name"]


def test_parameters_are_held_against_the_schema(gateway: Gateway, upstream: Upstream) -> None:
    errors = mistakes_of(gateway, api("bad", upstream.url, [attach("mark", {"name": 7, "colour": "red"})]))
    assert any("params.name" in field for field in errors)
    assert any("colour" in field + message for field, message in errors.items())


def test_three_mistakes_at_once_are_three_messages(gateway: Gateway) -> None:
    operations = [{"method": "FETCH IT", "path": "no-slash"}]
    errors = mistakes_of(gateway, api("bad", "nonsense", [], operations))
    assert {"spec.upstream.main.url", "spec.operations[0].method", "spec.operations[0].path"} <= errors.keys()


def test_the_management_api_is_no_upstream(gateway: Gateway) -> None:
    """A client of such an API would be asking it from this machine."""
    port = gateway.process_status("controller")["listen"].rpartition(":")[2]
    for host in ("127.0.0.1", "localhost", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]"):  # noqa: S104
        errors = mistakes_of(gateway, api("bad", f"http://{host}:{port}"))
        assert "a private port of the gateway itself" in errors["spec.upstream.main.url"], host
    for host in ("127.1", "2130706433", "0x7f000001", "0177.0.0.1"):
        errors = mistakes_of(gateway, api("bad", f"http://{host}:{port}"))
        assert "expected a host name or an IP address" in errors["spec.upstream.main.url"], host


def test_the_admin_listener_is_no_upstream(gateway: Gateway) -> None:
    """It answers every client that reaches it without a password, and clients of such an API would reach it."""
    port = address(gateway).rpartition(":")[2]
    for host in ("127.0.0.1", "localhost", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]"):  # noqa: S104
        errors = mistakes_of(gateway, api("bad", f"http://{host}:{port}"))
        assert "a private port of the gateway itself" in errors["spec.upstream.main.url"], host


def test_a_duplicate_route_is_refused(gateway: Gateway, upstream: Upstream) -> None:
    errors = mistakes_of(gateway, api("bad", upstream.url, [], [{"method": "GET", "path": "/{a}"}] * 2))
    assert list(errors) == ["spec.operations[1]"]


def test_a_security_policy_may_not_continue_on_error(gateway: Gateway, upstream: Upstream) -> None:
    errors = mistakes_of(gateway, api("bad", upstream.url, [attach("retarget", onError="continue")]))
    assert "retarget" in errors["spec.policies[0].onError"]


def test_a_bad_update_leaves_the_running_api(gateway: Gateway, upstream: Upstream) -> None:
    good = api("steady", upstream.url, [attach("mark", {"name": "good"})])
    gateway.deploy(good)
    with gateway.controller() as client:
        bad = api("steady", upstream.url, [attach("no-such-policy")])
        assert client.put("/v1/apis/steady", json=bad).status_code == 422
    assert httpx.get(f"{gateway.url}/steady/x").status_code == 200
    assert upstream.received[0].values("x-order") == [b"good()"]


def test_a_deleted_api_is_gone(gateway: Gateway, upstream: Upstream) -> None:
    gateway.deploy(api("brief", upstream.url))
    assert httpx.get(f"{gateway.url}/brief/x").status_code == 200
    with gateway.controller() as client:
        assert client.delete("/v1/apis/brief", params={"wait": "10"}).status_code in {200, 204}
    assert httpx.get(f"{gateway.url}/brief/x").status_code == 404
