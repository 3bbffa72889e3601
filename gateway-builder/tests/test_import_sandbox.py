"""The sandbox in which a build imports a policy: no secret, no network, nothing that it could write to."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from gatewright_builder.build import BuildOptions, build
from gatewright_builder.import_check import ImportCheck
from gatewright_builder.mistake import BuildError
from gatewright_builder.policy import Policy
from gatewright_builder.tree import below, write_tree

pytestmark = pytest.mark.timeout(180)
DEFINITION = b"name: sample\nversion: v1.0.0\nruntime: python\nprocessingMode:\n  requestHeaderMode: PROCESS\n"
SECRET = "s3cr3t-t0ken"  # noqa: S105
Import = Callable[..., str]


@pytest.fixture
def imported(tmp_path: Path, discovered: Callable[[Path], Policy]) -> Import:
    """Imports a policy of this source; what it is refused with, "" if it is not."""

    def check(source: str, **values: object) -> str:
        lines = [f"{name} = {value!r}\n" for name, value in values.items()]
        files = {"policy-definition.yaml": DEFINITION, "policy.py": "".join([*lines, source]).encode()}
        write_tree(files, tmp_path / "sample")
        policy: Policy = discovered(tmp_path / "sample")
        executor = {"gatewright_executor/__init__.py": b"", "gatewright_executor/main.py": b""}
        write_tree(executor | below("policies/sample_v1_0_0", policy.sources), tmp_path / "executor")
        try:
            ImportCheck(Path(sys.executable), tmp_path / "executor", (policy,), limit=20.0).run()
        except BuildError as error:
            return str(error)
        return ""

    return check


@pytest.mark.parametrize("name", ["GITHUB_TOKEN", "GATEWRIGHT_GITHUB_TOKEN", "UV_INDEX_CORP_PASSWORD", "MY_OWN"])
def test_no_secret_is_in_its_environment(imported: Import, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, SECRET)
    monkeypatch.setenv("LANG", "C.UTF-8")
    assert imported("import os\nassert SECRET not in os.environ.values(), 'seen'\n", SECRET=SECRET) == ""
    assert imported("import os\nassert {'PATH', 'LANG'} <= set(os.environ)\n") == ""


def test_the_environment_of_the_builder_cannot_be_read(imported: Import) -> None:
    """/proc/PID/environ has a process's first environment, and processes of the same user may read it."""
    read = "with open(f'/proc/{PID}/environ', 'rb') as file:\n    file.read()\n"
    assert Path(f"/proc/{os.getpid()}/environ").read_bytes()
    assert "got PermissionError: [Errno 13] Permission denied: '/proc/" in imported(read, PID=os.getpid())


def test_it_has_no_network_and_the_refusal_has_the_cure(imported: Import) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        connect = "import socket\nsocket.create_connection(ADDRESS, 5)\n"
        refusal = imported(connect, ADDRESS=server.getsockname())
    assert refusal == (
        "sample/policy.py:3: expected a module that can be imported, got OSError: [Errno 101] Network is unreachable;"
        " do it in prepare, or in the first execution: a build imports policies without a network"
    )


def test_a_library_that_reports_the_missing_network_in_its_own_words_gets_the_cure_too(imported: Import) -> None:
    look = "import socket\ntry:\n    socket.getaddrinfo('localhost.example', 80)\nexcept OSError as error:\n"
    refusal = imported(look + "    raise RuntimeError('no model') from error\n")
    assert "got RuntimeError: no model; do it in prepare" in refusal
    assert refusal.endswith("without a network")


def test_no_server_of_this_machine_is_reached_by_its_path(imported: Import, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        path = str(tmp_path / "s")
        server.bind(path)
        server.listen()
        refusal = imported("import socket\nsocket.socket(socket.AF_UNIX).connect(PATH)\n", PATH=path)
    assert "Network is unreachable" in refusal


def test_it_writes_nothing_but_temporary_files(imported: Import, tmp_path: Path) -> None:
    refusal = imported("open(PATH, 'w')\n", PATH=str(tmp_path / "written"))
    assert "sample/policy.py:2: expected a module that can be imported, got PermissionError" in refusal
    assert refusal.endswith("or below TMPDIR: the imports of a build write nothing else")
    (tmp_path / "kept").write_text("as it was")
    for change in ("open(PATH, 'a')", "os.truncate(PATH, 0)", "os.remove(PATH)", "os.rename(PATH, PATH + '2')"):
        assert "PermissionError" in imported(f"import os\n{change}\n", PATH=str(tmp_path / "kept"))
    assert (tmp_path / "kept").read_text() == "as it was"
    temporary = "import tempfile\nwith tempfile.TemporaryFile('w') as file:\n    file.write('much')\n"
    assert imported(temporary) == ""


def test_a_file_that_its_permissions_close_is_not_explained_by_the_sandbox(imported: Import, tmp_path: Path) -> None:
    (tmp_path / "closed").touch(mode=0)
    refusal = imported("open(PATH, 'w')\n", PATH=str(tmp_path / "closed"))
    assert "PermissionError" in refusal
    assert refusal.endswith("fix it: an executor imports each policy when it starts")


def test_for_a_missing_variable_of_the_environment_the_cure_is_prepare(imported: Import) -> None:
    refusal = imported("import os\nos.environ['REGION']\n")
    assert "got KeyError: 'REGION'" in refusal
    assert refusal.endswith(
        "a variable of the environment is for prepare, or the first execution: a build has none of them"
    )


@pytest.mark.compiles
def test_the_build_runs_no_line_of_a_packages_pth_files(
    tmp_path: Path, product: Path, packages: Path, make_wheel: Callable[..., Path]
) -> None:
    """Python runs the lines of .pth files that begin with import whenever it starts with a package's folder."""
    seen = tmp_path / "seen"
    line = f"import os; open({str(seen)!r}, 'w')\n"
    make_wheel(packages, "starter", "1.0", {"starter.py": b"", "starter.pth": line.encode()})
    source = b"import starter\n\ndef on_request(ctx, params): ...\n"
    files = {"policy-definition.yaml": DEFINITION, "policy.py": source, "requirements.txt": b"starter\n"}
    write_tree(files, tmp_path / "sample")
    (tmp_path / "build.yaml").write_text("version: v1\npolicies:\n  - {name: sample, filePath: sample}\n")
    output = build(BuildOptions(tmp_path / "build.yaml", tmp_path / "output", source_root=product)).output
    assert list(output.glob("python-env/default/lib/*/site-packages/starter.pth"))
    assert not seen.exists()


def test_it_ends_no_other_process(imported: Import) -> None:
    assert "PermissionError" in imported("import os\nos.kill(PID, 0)\n", PID=os.getpid())


def test_what_it_starts_is_confined_too(imported: Import, tmp_path: Path) -> None:
    path = tmp_path / "written"
    imported("import subprocess\nsubprocess.run(['touch', PATH])\n", PATH=str(path))
    assert not path.exists()


@pytest.mark.parametrize(
    "source",
    [
        "import asyncio\nasyncio.new_event_loop().close()\n",
        "import multiprocessing\nmultiprocessing.Lock()\n",
        "import subprocess\nsubprocess.run(['true'], check=True)\n",
        "import threading\nthread = threading.Thread(target=print)\nthread.start()\nthread.join()\n",
        "import ssl\nssl.create_default_context()\n",
        "import random, uuid\nuuid.uuid4(), random.random()\n",
    ],
    ids=["a loop", "a lock of processes", "a process", "a thread", "certificates", "randomness"],
)
def test_what_imports_do_in_peace_goes_on(imported: Import, source: str) -> None:
    assert imported(source) == ""
