from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from gatewright_cli.mistakes import PreflightError
from gatewright_cli.node.files.operator_secrets import OperatorSecrets, client_token, from_environment, read_token
from gatewright_cli.node.files.run_dir import RunDir

TOKEN, SYSTEM = "GATEWRIGHT_CONTROLLER_TOKEN", "GATEWRIGHT_CONTROLLER_SYSTEM_PARAMETERS"
KEY = "GATEWRIGHT_CONTROLLER_SECRET_KEY"

LEAVES = """
import json, os, sys
from gatewright_cli.node.files import operator_secrets
operator_secrets.start_without_secrets()
environ = open("/proc/self/environ").read()
own = operator_secrets.from_environment()
given = [own.token, own.system_parameters, own.secret_key]
print(json.dumps([os.getpid(), sys.argv[1:], environ, *given, dict(os.environ)]))
"""


def test_a_process_leaves_an_environment_with_secrets(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(LEAVES)
    environment = {**os.environ, TOKEN: "s3cret", SYSTEM: "{quota: {key: s3cret-t00}}", "TENANT": "blue"}
    environment[KEY] = "s3cret-key"
    process = subprocess.Popen(
        [sys.executable, script, "an argument"], env=environment, stdout=subprocess.PIPE, text=True
    )
    pid, arguments, environ, token, system, key, left = json.loads(process.communicate(timeout=30)[0])
    assert (pid, arguments) == (process.pid, ["an argument"])
    assert "s3cret" not in environ
    assert "TENANT=blue" in environ
    assert (token, system, key) == ("s3cret", "{quota: {key: s3cret-t00}}", "s3cret-key")
    assert [name for name in left if name.startswith("GATEWRIGHT_")] == []


def test_files_that_the_environment_names_are_read(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(" s3cret\n")
    (tmp_path / "system.yaml").write_text("quota: {}\n")
    environment = {f"{TOKEN}_FILE": str(tmp_path / "token"), f"{SYSTEM}_FILE": str(tmp_path / "system.yaml")}
    found = from_environment(environment)
    assert (found.token, found.system_parameters, environment) == ("s3cret", "quota: {}\n", {})


@pytest.mark.parametrize("descriptor", ["x", "987654"])
def test_a_reserved_variable_in_the_environment_is_a_mistake(descriptor: str) -> None:
    with pytest.raises(PreflightError, match="GATEWRIGHT_SECRETS_FD is a variable of gatewright's own: unset it"):
        from_environment({"GATEWRIGHT_SECRETS_FD": descriptor})


def test_without_a_token_each_run_has_another_one() -> None:
    assert from_environment({}).token != from_environment({TOKEN: ""}).token
    assert len(from_environment({}).token) == 64


@pytest.mark.parametrize("content", ["", "  \n", "two words", "tökén"])
def test_an_invalid_token_is_refused_and_not_shown(tmp_path: Path, content: str) -> None:
    (tmp_path / "token").write_text(content)
    with pytest.raises(PreflightError, match="expected a token of printable ASCII") as caught:
        from_environment({f"{TOKEN}_FILE": str(tmp_path / "token")})
    assert content.strip() == "" or content not in str(caught.value)


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff")
    environment = {f"{TOKEN}_FILE": str(tmp_path / "none"), f"{SYSTEM}_FILE": str(tmp_path / "binary")}
    with pytest.raises(PreflightError) as caught:
        from_environment(environment)
    assert caught.value.mistakes == [
        f"{TOKEN}_FILE: expected a file that can be read, got {tmp_path}/none: No such file or directory",
        f"{SYSTEM}_FILE: expected a file that can be read, got {tmp_path}/binary: it is no text in UTF-8",
    ]


def test_a_client_has_its_token_from_a_variable_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    assert client_token({TOKEN: "own"}) == "own"
    assert client_token({f"{TOKEN}_FILE": str(tmp_path / "token")}) == "s3cret"
    assert client_token({}) == ""
    with pytest.raises(PreflightError, match="expected a file with the management API's token: No such file"):
        client_token({f"{TOKEN}_FILE": str(tmp_path / "none")})


def test_secrets_are_written_for_their_owner_alone_and_not_printed(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path, made=False)
    secrets = OperatorSecrets("s3cret", "quota: {key: s3cret}")
    secrets.write(run_dir)
    assert read_token(tmp_path / "management-token") == "s3cret"
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}
    assert "s3cret" not in repr(secrets)
    run_dir.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_file_with_more_than_a_token_is_refused(tmp_path: Path) -> None:
    """Such as one that has a command's stderr, too."""
    file = tmp_path / "token"
    file.write_text("writing to http://127.0.0.1:9090\ns3cret\n")
    with pytest.raises(PreflightError, match="expected the management API's token alone, got more: copy the token"):
        read_token(file)
