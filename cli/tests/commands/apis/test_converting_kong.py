"""What `gatewright import` writes of a decK file's consumers."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from gatewright_cli.commands.apis.converting_kong import KongChoices, convert_deck_file
from gatewright_cli.mistakes import PreflightError

from cli.tests.kong.kong_documents import shipped


def convert(count: int, folder: Path | None) -> None:
    """Imports so many consumers, each with a key."""
    consumers = [
        {"username": f"c{number}", "keyauth_credentials": [{"key": f"planted-{number:022}"}]} for number in range(count)
    ]
    body = json.dumps({"_format_version": "3.0", "consumers": consumers}).encode()
    choices = KongChoices(folder, None, accept=False, without=(), force=False)
    assert convert_deck_file(body, "kong.json", choices, shipped()) == 0


def test_consumers_are_a_file_that_is_applied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The keys are for their owner alone."""
    convert(1001, tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*.yaml")) == ["build.yaml", "consumers.yaml"]
    text = (tmp_path / "consumers.yaml").read_text()
    assert text.count("kind: Consumer") == 1001
    keys = tmp_path / "consumer-keys.jsonl"
    assert (stat.S_IMODE(keys.stat().st_mode), len(keys.read_text().splitlines())) == (0o600, 1001)
    captured = capsys.readouterr()
    assert f"  gatewright apply -f {tmp_path}/consumers.yaml\n" in captured.err
    assert f"  gatewright consumer key import {keys}\n  rm {keys}\n" in captured.err
    assert "planted" not in captured.err + captured.out + text


def test_keys_want_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(PreflightError, match=r"expected a folder for secrets \(keys of consumers\), got none"):
        convert(1, None)
    assert capsys.readouterr().out == ""
