from __future__ import annotations

import pytest
from gatewright_cli.node.specs.forwarded import Forwarded, ForwardedError, command_line, parse


def test_options_go_to_their_process() -> None:
    found = parse(["--py.workers", "8", "--pe.log-level=debug", "--envoy.concurrency", "2", "--envoy.enable-x"])
    assert found == Forwarded({"workers": "8"}, {"log-level": "debug"}, {"concurrency": "2", "enable-x": None})


def test_values_keep_what_looks_odd() -> None:
    assert parse(["--py.x=a=b", "--py.y", "-1", "--py.z="]).py == {"x": "a=b", "y": "-1", "z": ""}


def test_all_mistakes_at_once() -> None:
    with pytest.raises(ForwardedError) as caught:
        parse(["stray", "--pyworkers", "8", "--py.ok", "1", "--envoy."])
    assert [mistake.split(":")[0] for mistake in caught.value.mistakes] == [
        "unexpected argument 'stray'",
        "unknown option '--pyworkers'",
        "unknown option '--envoy.'",
    ]
    assert "--py.NAME for the executors" in caught.value.mistakes[1]


def test_a_forwarded_option_takes_the_place_of_the_default() -> None:
    assert command_line({"a": "1", "b": None}, {"a": "2", "c": None}) == ("--a", "2", "--b", "--c")
