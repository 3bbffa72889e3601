from typing import Any

import pytest
from sdk import testing
from sdk.policy import UpstreamRequestModifications

policy = testing.load_policy(__file__)
CANARY = UpstreamRequestModifications(upstream="canary")
HEADER = {"name": "X-Canary", "values": ["1", "yes"]}


def chosen(address: str = "10.0.0.1:4000", headers: list[tuple[str, str]] | None = None, **params: Any) -> object:
    full = testing.params(upstream="canary", **{"percent": 0, "sticky": False, **params})
    return policy.on_request(testing.request(headers=headers or [], client_address=address), full)


@pytest.mark.parametrize("values", [["1"], ["yes"], ["0", "1"]])
def test_a_request_with_the_header_goes_there(values: list[str]) -> None:
    assert chosen(headers=[("x-canary", value) for value in values], header=HEADER) == CANARY


@pytest.mark.parametrize("headers", [[], ["x-canary=0"], ["x-canary="], ["x-other=1"], ["x-canary=11"]])
def test_other_requests_do_not(headers: list[str]) -> None:
    lines = [(name, value) for name, _, value in (line.partition("=") for line in headers)]
    assert chosen(headers=lines, header=HEADER) is None
    assert chosen(headers=lines) is None


@pytest.mark.parametrize("sticky", [True, False])
def test_all_of_a_hundred_and_none(sticky: bool) -> None:
    clients = [f"10.0.{n}.1:4000" for n in range(200)]
    assert all(chosen(client, percent=100, sticky=sticky) == CANARY for client in clients)
    assert all(chosen(client, percent=0, sticky=sticky) is None for client in clients)


@pytest.mark.parametrize("sticky", [True, False])
def test_a_share_of_all(sticky: bool) -> None:
    went = sum(chosen(f"10.{n % 250}.{n // 250}.1:4000", percent=20, sticky=sticky) == CANARY for n in range(5000))
    assert 850 < went < 1150  # 1000, and more than five times its deviation


@pytest.mark.parametrize("address", ["10.0.0.{}:{}", "[2001:db8::{}]:{}"])
def test_a_client_stays_where_it_is_whatever_its_port(address: str) -> None:
    for client in range(1, 50):
        went = {str(chosen(address.format(client, port), percent=50, sticky=True)) for port in range(4000, 4010)}
        assert len(went) == 1


def test_a_higher_percentage_keeps_those_chosen_before() -> None:
    clients = [f"10.0.{n}.1:4000" for n in range(200)]
    early = {client for client in clients if chosen(client, percent=10, sticky=True)}
    late = {client for client in clients if chosen(client, percent=40, sticky=True)}
    assert early < late
