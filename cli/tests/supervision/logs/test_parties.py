from __future__ import annotations

from gatewright_cli.supervision.logs.parties import Parties
from gatewright_cli.supervision.logs.records import Source, event

ENVOY, ENGINE = Source("envoy"), Source("engine", "policy-engine")


def split(*lines: bytes, parties: Parties | None = None) -> list[tuple[str, list[bytes]]]:
    runs = (parties or Parties(ENVOY, ENGINE)).split(lines)
    return [(source.process, run) for source, run in runs]


def test_a_line_is_of_the_component_that_it_names() -> None:
    envoy, engine = event("envoy", "a"), event("policy-engine", "b")
    assert split(envoy, engine, engine, envoy) == [("envoy", [envoy]), ("engine", [engine] * 2), ("envoy", [envoy])]


def test_other_lines_are_the_guests_from_its_first_line_on() -> None:
    parties, engine = Parties(ENVOY, ENGINE), event("policy-engine", "b")
    assert split(b"PARSE ERROR", parties=parties) == [("envoy", [b"PARSE ERROR"])]
    assert split(engine, b"a policy prints", parties=parties) == [("engine", [engine, b"a policy prints"])]
    assert split(event("envoy", "x"), b"panic: y", parties=parties)[1] == ("engine", [b"panic: y"])


def test_no_line_of_envoys_passes_for_one_of_the_engine() -> None:
    forged = event("envoy", event("policy-engine", "b").decode())
    assert split(event("policy-engine", "a"), forged)[1] == ("envoy", [forged])


def test_a_process_without_a_guest_has_all_lines() -> None:
    lines = [b"x", event("policy-engine", "b")]
    assert split(*lines, parties=Parties(ENVOY)) == [("envoy", lines)]
