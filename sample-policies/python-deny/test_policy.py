import pytest
from sdk import testing
from sdk.policy import ImmediateResponse

policy = testing.load_policy(__file__)
PARAMS = testing.params(headerName="X-Api-Key")


def test_a_request_with_the_header_goes_on() -> None:
    assert policy.on_request(testing.request(headers={"x-api-key": "k"}), PARAMS) is None


@pytest.mark.parametrize("headers", [{}, {"X-Api-Key": ""}, {"X-Other": "k"}])
def test_one_without_is_answered(headers: dict[str, str]) -> None:
    answer = policy.on_request(testing.request(headers=headers), PARAMS)
    assert isinstance(answer, ImmediateResponse)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "ApiKey"
    assert "X-Api-Key" in str(answer.body)
