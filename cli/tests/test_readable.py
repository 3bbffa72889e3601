from __future__ import annotations

import sys
from pathlib import Path

import pytest
from gatewright_cli import readable
from gatewright_cli.build_output import BuildOutput, Group


@pytest.fixture
def group(tmp_path: Path) -> Group:
    python = tmp_path / "python-env" / "default" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    return Group("default", python, tmp_path / "python-executor" / "registry.py")


def test_what_a_group_needs_is_its_own_and_the_interpreter_behind_it(tmp_path: Path, group: Group) -> None:
    needed = readable.needed(BuildOutput(tmp_path, (group,)), group)
    assert str(tmp_path / "python-env" / "default") in needed
    assert str(Path(sys.executable).resolve()) in needed
    library = f"python{sys.version_info.major}.{sys.version_info.minor}"
    assert any((Path(path) / library / "os.py").is_file() for path in needed)
    assert str(tmp_path) not in needed


def test_certificates_that_the_environment_names_and_no_private_keys(tmp_path: Path, group: Group) -> None:
    named = {"SSL_CERT_FILE": "/company/ca.pem", "SSL_CERT_DIR": "/one:/two", "REQUESTS_CA_BUNDLE": ""}
    found = readable.readable(BuildOutput(tmp_path, (group,)), group, named)
    assert {"/company/ca.pem", "/one", "/two"} <= set(found)
    private = Path("/etc/ssl/private/key.pem")
    assert not [path for path in found if private.is_relative_to(path)]
    assert not {"/etc", "/", "/proc", "/home", "/root", "/run", "/var", "/usr", ""} & set(found)
