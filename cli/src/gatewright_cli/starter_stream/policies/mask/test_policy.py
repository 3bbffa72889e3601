"""`pytest policies`: a stream is tested without a gateway, with the same result however its body is cut."""

import pytest
from sdk import testing

policy = testing.load_policy(__file__)
PARAMS = testing.params(word="secret")


def masked(body: bytes, size: int) -> bytes:
    with testing.prepared(policy, PARAMS) as prepared:
        ctx = testing.response(request=testing.request(prepared=prepared))
        return testing.run_stream(
            policy.on_response_stream, testing.stream(body, sizes=size), ctx=ctx, params=PARAMS
        ).body


@pytest.mark.parametrize("size", range(1, 12))
def test_the_word_is_masked_wherever_it_is_cut(size: int) -> None:
    assert masked(b"a secret, secretly", size) == b"a ***, ***ly"
    assert masked(b"nothing to hide: secr", size) == b"nothing to hide: secr"
