"""`pytest policies/my_policy`: it is tested without a gateway."""

from sdk import testing
from sdk.policy import ImmediateResponse, UpstreamRequestModifications

policy = testing.load_policy(__file__)
PARAMS = testing.params(header="x-tenant")  # as an API sets them, with defaults


def test_the_upstream_gets_the_tenant() -> None:
    ctx = testing.request(headers={"x-tenant": "blue"})
    wanted = UpstreamRequestModifications(set_headers={"x-seen-tenant": "blue"})
    assert policy.on_request(ctx, PARAMS) == wanted


def test_no_tenant_and_two_are_refused() -> None:
    for headers in ([], [("x-tenant", "blue"), ("x-tenant", "green")]):
        action = policy.on_request(testing.request(headers=headers), PARAMS)
        assert isinstance(action, ImmediateResponse)
        assert action.status_code == 400
