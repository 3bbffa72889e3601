"""`pytest policies`: a policy is tested without a gateway."""

import json

import pytest
from sdk import testing
from sdk.policy import ImmediateResponse, RequestAction

policy = testing.load_policy(__file__)
PARAMS = testing.params(word="secret")


def asked(path: str, **document: object) -> RequestAction:
    body = json.dumps({"model": "m", **document}).encode()
    action: RequestAction = policy.on_request(testing.request("POST", path, body=body), PARAMS)
    return action


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_the_word_is_refused_and_other_prompts_pass(path: str) -> None:
    refused = asked(path, messages=[{"role": "user", "content": "Our SECRET plan"}])
    assert isinstance(refused, ImmediateResponse)
    assert refused.status_code == 400
    assert asked(path, messages=[{"role": "user", "content": "Hello"}]) is None


def test_other_requests_are_refused() -> None:
    refused = asked("/v1/files")
    assert isinstance(refused, ImmediateResponse)
    assert refused.status_code == 403
