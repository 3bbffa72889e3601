"""Hostnames: what two have in common, and which patterns have a host."""

import pytest
from gatewright_controller.gateway_api.hostnames import common, covers, intersection, patterns_of, specificity

NAMES = ["", "a.example", "*.example", "*.a.example", "b.a.example", "example", "*.b.example", "ba.example"]


@pytest.mark.parametrize(
    ("hostname", "other", "both"),
    [
        ("", "a.example", "a.example"),
        ("*.example", "a.example", "a.example"),
        ("*.example", "c.b.a.example", "c.b.a.example"),
        ("*.example", "*.a.example", "*.a.example"),
        ("*.example", "example", None),
        ("*.example", "a.sample", None),
        ("*.a.example", "ba.example", None),
        ("", "", ""),
    ],
)
def test_what_two_have_in_common(hostname: str, other: str, both: str | None) -> None:
    assert intersection(hostname, other) == intersection(other, hostname) == both


def test_a_route_without_hostnames_has_the_listeners() -> None:
    assert common("*.Example", []) == ["*.example"]
    assert common("", []) == [""]
    assert common("*.example", ["A.example", "sample", "a.example"]) == ["a.example"]


@pytest.mark.parametrize("host", NAMES)
def test_the_patterns_of_a_host_are_those_that_cover_it(host: str) -> None:
    assert {name for name in NAMES if covers(name, host)} == set(NAMES) & set(patterns_of(host))
    assert patterns_of(host) == sorted(patterns_of(host), key=specificity, reverse=True)
