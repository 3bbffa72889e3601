from sdk import testing
from sdk.policy import UpstreamRequestModifications

policy = testing.load_policy(__file__)


def test_the_key_takes_the_place_of_the_clients() -> None:
    params = testing.params(key=testing.secret("key-of-ours"))
    action = policy.on_request(testing.request(headers={"authorization": "Bearer ada"}), params)
    assert action == UpstreamRequestModifications(set_headers={"authorization": "Bearer key-of-ours"})
