"""`pytest policies/my_policy`: the result of a stream is the same however its body is cut."""

import pytest
from sdk import testing

policy = testing.load_policy(__file__)
PARAMS = testing.params(word="secret")  # as an API sets them, with defaults


def replaced(body: bytes, size: int) -> bytes:
    """The body that clients get if it arrives in chunks of this size."""
    with testing.prepared(policy, PARAMS) as prepared:
        ctx = testing.response(request=testing.request(prepared=prepared))
        chunks = testing.stream(body, sizes=size)
        hook = policy.on_response_stream
        return testing.run_stream(hook, chunks, ctx=ctx, params=PARAMS).body


@pytest.mark.parametrize("size", range(1, 12))
def test_the_word_is_replaced_wherever_it_is_cut(size: int) -> None:
    assert replaced(b"a secret, secretly", size) == b"a ***, ***ly"
    assert replaced(b"nothing to hide: secr", size) == b"nothing to hide: secr"
