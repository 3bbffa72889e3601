"""`pytest policies`: a policy is tested without a gateway."""

from sdk import testing
from sdk.policy import ImmediateResponse, UpstreamRequestModifications, UpstreamResponseModifications

policy = testing.load_policy(__file__)
PARAMS = testing.params(greeting="hello")


def test_it_greets_by_name() -> None:
    action = policy.on_request(testing.request(headers={"x-name": "Ada"}), PARAMS)
    assert action == UpstreamRequestModifications(set_headers={"x-greeting": "hello Ada"})


def test_without_a_name_it_greets_the_world() -> None:
    action = policy.on_request(testing.request(), PARAMS)
    assert action == UpstreamRequestModifications(set_headers={"x-greeting": "hello world"})


def test_a_long_name_never_reaches_upstream() -> None:
    action = policy.on_request(testing.request(headers={"x-name": "a" * 41}), PARAMS)
    assert isinstance(action, ImmediateResponse)
    assert action.status_code == 400


def test_the_client_sees_it_too() -> None:
    action = policy.on_response(testing.response(), PARAMS)
    assert action == UpstreamResponseModifications(set_headers={"x-greeted": "yes"})
