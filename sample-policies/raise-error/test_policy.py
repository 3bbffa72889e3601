import pytest
from sdk import testing

policy = testing.load_policy(__file__)


def test_it_raises_in_its_phase_only() -> None:
    in_request = testing.params(phase="request", message="as told")
    in_response = testing.params(phase="response", message="as told")
    with pytest.raises(RuntimeError, match="as told"):
        policy.on_request(testing.request(), in_request)
    with pytest.raises(RuntimeError, match="as told"):
        policy.on_response(testing.response(), in_response)
    assert policy.on_request(testing.request(), in_response) is None
    assert policy.on_response(testing.response(), in_request) is None
