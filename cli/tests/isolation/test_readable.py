from __future__ import annotations

import sys
from pathlib import Path

import pytest
from gatewright_cli.builds.build_output import BuildOutput, Group
from gatewright_cli.isolation import readable
from gatewright_cli.node.specs import environment

from cli.tests.outputs import policy, write_output


@pytest.fixture
def group(tmp_path: Path) -> Group:
    python = tmp_path / "python-env" / "default" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    return Group("default", python, tmp_path / "python-executor" / "registry.py")


def test_what_a_group_needs_is_its_own_and_the_interpreter_behind_it(tmp_path: Path, group: Group) -> None:
    required = readable.required_paths(BuildOutput(tmp_path, (group,)), group)
    assert str(tmp_path / "python-env" / "default") in required
    assert str(Path(sys.executable).resolve()) in required
    library = f"python{sys.version_info.major}.{sys.version_info.minor}"
    assert any((Path(path) / library / "os.py").is_file() for path in required)
    assert str(tmp_path) not in required


def test_a_group_reads_the_executor_and_its_own_policies_and_no_other_groups(tmp_path: Path) -> None:
    output = write_output(tmp_path, policy("add-one"), policy("add-two", "v1.2.0", group="strangers"))
    for part in ("gatewright_executor", "policies/add_one_v1_0_0", "policies/add_two_v1_2_0"):
        (output.executor / part).mkdir(parents=True)
    (output.executor / "policies" / "__init__.py").touch()
    found = {
        path.removeprefix(f"{output.executor}/")
        for path in readable.required_paths(output, output.group("strangers"))
        if path.startswith(str(output.executor))
    }
    own = {"policies/__init__.py", "policies/add_two_v1_2_0", "strangers.py"}
    assert found == {"gatewright_executor", "main.py", *own}


def test_certificates_that_the_environment_names_and_no_private_keys(tmp_path: Path, group: Group) -> None:
    named = {"SSL_CERT_FILE": "/company/ca.pem", "SSL_CERT_DIR": "/one:/two", "REQUESTS_CA_BUNDLE": ""}
    found = readable.readable(BuildOutput(tmp_path, (group,)), group, named)
    assert {"/company/ca.pem", "/one", "/two"} <= set(found)
    private = Path("/etc/ssl/private/key.pem")
    assert not [path for path in found if private.is_relative_to(path)]
    assert not {"/etc", "/", "/proc", "/home", "/root", "/run", "/var", "/usr", ""} & set(found)


def test_what_the_executors_variables_name_is_read(tmp_path: Path, group: Group) -> None:
    named = {
        "LD_LIBRARY_PATH": "/opt/one/lib:/opt/two/lib:", "LD_PRELOAD": "/opt/malloc.so libm.so.6:/opt/other.so",
        "TZDIR": "/opt/zoneinfo", "OPENSSL_CONF": "/opt/openssl.cnf", "HOSTALIASES": "/opt/aliases",
    }  # fmt: skip
    assert all(environment.executor([]).has(name) for name in named)
    found = set(readable.readable(BuildOutput(tmp_path, (group,)), group, named))
    assert {path for path in found if path.startswith("/opt/")} == {
        "/opt/one/lib", "/opt/two/lib", "/opt/malloc.so", "/opt/other.so", "/opt/zoneinfo", "/opt/openssl.cnf",
        "/opt/aliases",
    }  # fmt: skip
    assert not {str(Path.cwd()), str(Path("libm.so.6").absolute())} & found


def test_the_folder_of_a_resolver_that_replaces_its_file_is_read_unless_others_are_in_it(
    tmp_path: Path, group: Group
) -> None:
    link, folder = tmp_path / "resolv.conf", tmp_path / "resolve"
    for target, read in (
        (folder / "stub-resolv.conf", [str(folder)]),
        (Path("/run/resolv.conf"), []),
        (Path("/etc/resolv.conf.head"), []),
    ):
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        assert [*readable.replaced_in([str(link)])] == read
    machine = readable.replaced_in(["/etc/resolv.conf"])
    assert set(machine) <= set(readable.readable(BuildOutput(tmp_path, (group,)), group, {}))
