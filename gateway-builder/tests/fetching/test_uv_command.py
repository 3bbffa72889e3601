from __future__ import annotations

import pytest
from gatewright_builder.fetching.uv_command import UvError, built_from_source, uv


@pytest.mark.usefixtures("packages")
def test_it_prints_what_it_was_asked_for() -> None:
    assert "tiny-rpc==1.3" in uv("pip", "compile", "--no-header", "--no-annotate", "-", stdin="tiny-rpc\n")


@pytest.mark.usefixtures("packages")
def test_requirements_that_contradict_each_other_are_unsolvable() -> None:
    with pytest.raises(UvError) as caught:
        uv("pip", "compile", "-", stdin="dark-kit\nlight-kit\n")
    assert caught.value.unsolvable
    assert caught.value.without_wheel == ()
    assert "colour<2" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_command_that_uv_does_not_know_is_another_failure() -> None:
    with pytest.raises(UvError) as caught:
        uv("no-such-command")
    assert not caught.value.unsolvable
    assert "no-such-command" in str(caught.value)


def test_packages_without_a_wheel_are_named_each_once() -> None:
    output = "Wheels are required for `acme` because …. Wheels are required for `limit`, Wheels are required for `acme`"
    assert UvError(output).without_wheel == ("acme", "limit")


def test_only_named_packages_are_built_from_source() -> None:
    assert built_from_source(()) == ("--only-binary", ":all:")
    assert built_from_source(("a", "b"))[2:] == ("--no-binary", "a", "--no-binary", "b")
