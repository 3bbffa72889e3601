from __future__ import annotations

from pathlib import Path

from gatewright_builder.engine_record import ENGINE, RECORD, EngineRecord, GoModule, read_record, write_record
from msgspec.structs import replace

ENTRY = EngineRecord("inputs", "go1.26", "abc", {"b:v1.0.0": "2", "a:v1.0.0": "1"}, [GoModule("example.com/a", "v1")])


def test_what_is_written_is_read_beside_its_engine(tmp_path: Path) -> None:
    write_record(tmp_path, ENTRY)
    assert read_record(tmp_path) is None
    (tmp_path / ENGINE).touch()
    assert read_record(tmp_path) == ENTRY


def test_the_same_record_is_the_same_bytes(tmp_path: Path) -> None:
    write_record(tmp_path, ENTRY)
    before = (tmp_path / RECORD).read_bytes()
    write_record(tmp_path, replace(ENTRY, policies={"a:v1.0.0": "1", "b:v1.0.0": "2"}))
    assert (tmp_path / RECORD).read_bytes() == before


def test_for_a_record_that_cannot_be_read_none_is_returned(tmp_path: Path) -> None:
    (tmp_path / ENGINE).touch()
    (tmp_path / RECORD).write_text("{}")
    assert read_record(tmp_path) is None
