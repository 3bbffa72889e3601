from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

if TYPE_CHECKING:
    from cli.tests.conftest import Invoke

URL = "http://127.0.0.1:9091"


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "contexts.yaml"
    monkeypatch.setenv("GATEWRIGHT_CONTEXTS", str(file))
    return file


def test_contexts_are_added_used_listed_and_removed(invoke: Invoke, file: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    (tmp_path / "ca.pem").touch()
    assert invoke("context", "list") == (0, "CURRENT  NAME  URL  TOKEN\n", "")
    production = ("context", "add", "production", "--url", "https://gateway.example:9443")
    added = invoke(*production, "--token-file", tmp_path / "token", "--ca", tmp_path / "ca.pem", "--use")
    assert added == (0, "production is https://gateway.example:9443, the current one\n", "")
    assert invoke("context", "add", "staging", "--url", URL) == (0, f"staging is {URL}\n", "")
    assert invoke("context", "list").out == (
        "CURRENT  NAME        URL                           TOKEN\n"
        f"*        production  https://gateway.example:9443  {tmp_path}/token\n"
        f"         staging     {URL}         none\n"
    )
    assert invoke("context", "list", "-o", "name").out == "production\nstaging\n"
    assert invoke("context", "use", "staging") == (0, f"staging is current: {URL}\n", "")
    listed = json.loads(invoke("context", "list", "-o", "json").out)
    assert listed == yaml.safe_load(invoke("context", "list", "-o", "yaml").out)
    assert [(context["name"], context["current"]) for context in listed] == [("production", False), ("staging", True)]
    assert invoke("context", "remove", "staging").out == "staging removed; no context is current\n"
    assert invoke("context", "use", "production").status == 0
    assert invoke("context", "use", "--none").out.startswith("no context is current: ")
    assert yaml.safe_load(file.read_text()) == {
        "contexts": {
            "production": {
                "url": "https://gateway.example:9443", "tokenFile": f"{tmp_path}/token", "ca": f"{tmp_path}/ca.pem",
            },
        },
    }  # fmt: skip


def test_a_token_of_standard_input_is_kept_and_not_shown(
    invoke: Invoke, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("s3cret\n"))
    assert invoke("context", "add", "staging", "--url", URL, "--token-stdin").status == 0
    assert yaml.safe_load(file.read_text())["contexts"]["staging"]["token"] == "s3cret"  # noqa: S105
    for output in ("table", "wide", "json", "yaml", "name"):
        assert "s3cret" not in invoke("context", "list", "-o", output).out
    assert "s3cret" not in invoke("context", "show", "--context", "staging").out
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    refused = invoke("context", "add", "other", "--url", URL, "--token-stdin")
    assert (refused.status, refused.err.count("expected a token of printable ASCII")) == (1, 1)


def test_an_existing_context_is_replaced_only_when_asked(invoke: Invoke, file: Path) -> None:
    invoke("context", "add", "staging", "--url", URL)
    before = file.read_text()
    again = invoke("context", "add", "staging", "--url", "http://127.0.0.1:1")
    mistake = f"error: {file} has a context staging already: choose another name, or --replace it\n"
    assert again == (1, "", mistake)
    assert file.read_text() == before
    assert invoke("context", "add", "staging", "--url", "http://127.0.0.1:1", "--replace").status == 0
    assert "127.0.0.1:1\n" in file.read_text()


def test_all_mistakes_of_a_new_context_are_named_at_once(invoke: Invoke, tmp_path: Path) -> None:
    options = ["--url", "http://gateway.example", "--token-file", tmp_path / "none", "--ca", tmp_path]
    status, out, err = invoke("context", "add", "staging", *options)
    assert (status, out) == (1, "")
    assert [line.partition(" expected")[0] for line in err.splitlines()] == [
        "error: --token-file:", "error: --ca:", "error:",
    ]  # fmt: skip
    assert invoke("context", "add", "a b", "--url", URL).err.startswith("error: NAME: expected 1 to 63 letters")
    in_clear = invoke("context", "add", "staging", "--url", "http://gateway.example")
    assert "--url: expected https to another machine, got http://gateway.example" in in_clear.err
    assert invoke("context", "add", "staging", "--url", "http://gateway.example", "--in-clear").status == 0
    assert invoke("context", "add", "staging").status == 2


@pytest.mark.parametrize("command", ["use", "remove"])
def test_an_unknown_context_is_not_found(invoke: Invoke, file: Path, command: str) -> None:
    invoke("context", "add", "staging", "--url", URL)
    status, out, err = invoke("context", command, "stage")
    assert (status, out) == (3, "")
    assert err.startswith(f"error: expected a context of {file} (staging), got 'stage': correct the name")
    assert invoke("context", "use").status == invoke("context", "use", "staging", "--none").status == 2


def test_show_names_the_controller_and_what_named_it(
    invoke: Invoke, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    invoke("context", "add", "staging", "--url", URL, "--use")
    shown = yaml.safe_load(invoke("context", "show").out)
    assert shown == {"url": URL, "chosenBy": f"current of {file}", "context": "staging"}
    monkeypatch.setenv("GATEWRIGHT_CONTROLLER", "http://127.0.0.1:1")
    shown = json.loads(invoke("context", "show", "--json").out)
    assert shown == {"url": "http://127.0.0.1:1", "chosenBy": "GATEWRIGHT_CONTROLLER"}
    assert yaml.safe_load(invoke("context", "show", "--context", "staging").out)["chosenBy"] == "--context"
