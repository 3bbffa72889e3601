from __future__ import annotations

from pathlib import Path

import pytest
from gatewright_builder.events import say_nothing
from gatewright_builder.fetching.cache import Cache
from gatewright_builder.fetching.source_request import SourceRequest
from gatewright_builder.manifest import Entry, Manifest
from gatewright_builder.mistake import BuildError
from gatewright_builder.origin import Kind, Pin
from gatewright_builder.sources import Sources


def request(folder: Path, pin: Pin | None = None) -> SourceRequest:
    entry = Entry("limit", Kind.GO_MODULE, "example.com/limit@v1.0.0", 7)
    return SourceRequest(
        Manifest(folder / "build.yaml", (entry,)), entry, pin, Cache(folder), say_nothing, Sources(folder)
    )


def test_its_mistakes_stand_at_its_line(tmp_path: Path) -> None:
    error = request(tmp_path).error("a module", "none", "write one")
    assert str(error) == "build.yaml:7: expected a module, got none; write one"


def test_other_content_than_the_pinned_is_refused(tmp_path: Path) -> None:
    request(tmp_path).verify("any")
    request(tmp_path, Pin("abc")).verify("abc")
    with pytest.raises(BuildError, match=r"limit@v1\.0\.0 as build\.lock has it, abc, got def; if that"):
        request(tmp_path, Pin("abc")).verify("def")
