"""What `gatewright import` writes of a decK file's consumers."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from gatewright_cli.commands.apis.converting_kong import LARGEST_SET, KongChoices, convert_deck_file
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


def test_consumers_are_files_that_are_applied_one_by_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each within what a controller takes at once; and the keys are for their owner alone."""
    convert(2 * LARGEST_SET + 1, tmp_path)
    files = sorted(path.name for path in tmp_path.glob("*.yaml"))
    assert files == ["build.yaml", "consumers-1.yaml", "consumers-2.yaml", "consumers-3.yaml"]
    texts = [(tmp_path / name).read_text() for name in files[1:]]
    assert [text.count("kind: Consumer") for text in texts] == [LARGEST_SET, LARGEST_SET, 1]
    keys = tmp_path / "consumer-keys.jsonl"
    assert (stat.S_IMODE(keys.stat().st_mode), len(keys.read_text().splitlines())) == (0o600, 2 * LARGEST_SET + 1)
    captured = capsys.readouterr()
    assert f'  for file in {tmp_path}/consumers-*.yaml; do gatewright apply -f "$file"; done\n' in captured.err
    assert f"  gatewright consumer key import {keys}\n  rm {keys}\n" in captured.err
    assert "planted" not in captured.err + captured.out + "".join(texts)


def test_keys_want_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(PreflightError, match=r"expected a folder for secrets \(keys of consumers\), got none"):
        convert(1, None)
    assert capsys.readouterr().out == ""
