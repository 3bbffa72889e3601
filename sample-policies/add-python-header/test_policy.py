from sdk import testing
from sdk.policy import UpstreamRequestModifications, UpstreamResponseModifications

policy = testing.load_policy(__file__)
PARAMS = testing.params(headerName="X-Python-Policy", headerValue="hello from python")
HEADER = {"X-Python-Policy": "hello from python"}


def test_the_request_gets_the_header() -> None:
    assert policy.on_request(testing.request(), PARAMS) == UpstreamRequestModifications(set_headers=HEADER)


def test_the_response_gets_the_header() -> None:
    assert policy.on_response(testing.response(), PARAMS) == UpstreamResponseModifications(set_headers=HEADER)
