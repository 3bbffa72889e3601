from __future__ import annotations

from bench import machine
from bench.settings import Settings


def test_envoys_version_is_found() -> None:
    text = "\n/x/envoy  version: 0123abcd/1.40.0/Clean/RELEASE/BoringSSL\n"
    assert machine.parse_envoy_version(text) == "1.40.0"
    assert machine.parse_envoy_version("") == "of an unknown version"


def test_the_processor_is_found() -> None:
    assert machine.cpu_model("processor\t: 0\nmodel name\t: AMD EPYC\nmodel name\t: other\n") == "AMD EPYC"
    assert machine.cpu_model("Processor: none")


def test_the_loop_is_named() -> None:
    assert machine.loop(Settings()) == "closed loop"
    assert machine.loop(Settings(rate=2000.0)) == "open loop at 2000 requests/s"
