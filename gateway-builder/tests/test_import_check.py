"""Imports that never end: how they are reported, and that they end with the build. test_build has the other imports."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from gatewright_builder.import_check import ImportCheck, sdk_cure
from gatewright_builder.mistake import BuildError
from gatewright_builder.policy import Policy
from gatewright_builder.tree import below, write_tree

DEFINITION = b"name: sample\nversion: v1.0.0\nruntime: python\nprocessingMode:\n  requestHeaderMode: PROCESS\n"
HANGS = {
    "it loops": (b"x = 0\nwhile True:\n    x += 1\n", "it is at policy.py:"),
    "it waits": (
        b"import threading\n\ndef wait():\n    threading.Event().wait()\n\nwait()\n",
        "policy.py:4 in wait < policy.py:6 in <module>",
    ),
}
pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def made(tmp_path: Path, discovered: Callable[[Path], Policy]) -> Callable[[bytes], Policy]:
    """An executor's folder in tmp_path / "executor", with one policy of this source."""

    def make(source: bytes) -> Policy:
        write_tree({"policy-definition.yaml": DEFINITION, "policy.py": source}, tmp_path / "sample")
        policy = discovered(tmp_path / "sample")
        executor = {"gatewright_executor/__init__.py": b"", "gatewright_executor/main.py": b""}
        write_tree(executor | below("policies/sample_v1_0_0", policy.sources), tmp_path / "executor")
        return policy

    return make


@pytest.mark.parametrize("what", HANGS)
def test_an_import_that_never_ends_is_cut_and_its_place_is_named(
    tmp_path: Path, made: Callable[[bytes], Policy], what: str
) -> None:
    source, place = HANGS[what]
    with pytest.raises(BuildError) as caught:
        ImportCheck(Path(sys.executable), tmp_path / "executor", (made(source),), limit=1.0).run()
    (mistake,) = caught.value.mistakes
    assert mistake.file == "sample/policy.py"
    assert mistake.line in {2, 3, 4}
    assert mistake.got.startswith("no end of the import: 1 s; it is at ")
    assert place in mistake.got
    assert "import_runner" not in mistake.got
    assert "in prepare" in mistake.cure


def test_what_the_sdk_refuses_at_import_has_the_policys_line(tmp_path: Path, made: Callable[[bytes], Policy]) -> None:
    policy = made(b"import refusing\n\nrefusing.refuse()\n")
    write_tree({"refusing.py": b"def refuse():\n    raise ValueError('no such metric')\n"}, tmp_path / "executor")
    with pytest.raises(BuildError) as caught:
        ImportCheck(Path(sys.executable), tmp_path / "executor", (policy,)).run()
    (mistake,) = caught.value.mistakes
    assert (mistake.file, mistake.line) == ("sample/policy.py", 3)


@pytest.mark.parametrize(
    "source",
    [
        b"import threading\nthreading.Thread(target=threading.Event().wait).start()\n",
        b"import os, time\nif os.fork() == 0:\n    time.sleep(3600)\n    os._exit(0)\n",
    ],
    ids=["a thread", "a process"],
)
def test_what_a_policy_leaves_running_at_import_holds_nothing_up_and_ends(
    tmp_path: Path, made: Callable[[bytes], Policy], source: bytes
) -> None:
    ImportCheck(Path(sys.executable), tmp_path / "executor", (made(source),), limit=3600.0).run()
    end = time.monotonic() + 30
    while left := processes_of(tmp_path):
        assert time.monotonic() < end, f"still there: {left}"
        time.sleep(0.01)


def processes_of(folder: Path) -> list[str]:
    """The numbers of the processes that have the folder in their command line."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if str(folder).encode() in file.read_bytes():
                found.append(file.parent.name)
    return found


def test_a_check_that_is_stopped_before_it_runs_ends_at_once(tmp_path: Path, made: Callable[[bytes], Policy]) -> None:
    """A build that is interrupted has groups that wait for their turn: not all are imported at once."""
    check = ImportCheck(Path(sys.executable), tmp_path / "executor", (made(HANGS["it waits"][0]),), limit=3600.0)
    check.stop()
    with pytest.raises(BuildError, match="ended the process"):
        check.run()


ASKS = """
import sys
from pathlib import Path
from gatewright_builder.discovery import discover_policy
from gatewright_builder.import_check import ImportCheck
from gatewright_builder.manifest import Entry
from gatewright_builder.origin import Kind, Origin

folder = Path(sys.argv[1])
origin = Origin(Kind.FILE_PATH, "sample", "sample", folder / "sample", "sample")
policy = discover_policy(Entry("sample", Kind.FILE_PATH, "sample", 1), origin)
ImportCheck(Path(sys.executable), folder / "executor", (policy,)).run()
"""


def test_an_import_check_does_not_outlive_the_process_that_asked(
    tmp_path: Path, made: Callable[[bytes], Policy]
) -> None:
    made(b"while True:\n    pass\n")
    with subprocess.Popen([sys.executable, "-c", ASKS, str(tmp_path)]) as asks:
        _until(lambda: _children(asks.pid) != [])
        checking = os.pidfd_open(_children(asks.pid)[0])
        asks.send_signal(signal.SIGKILL)
    try:
        _until(lambda: _has_ended(checking))
    finally:
        os.close(checking)


def _children(pid: int) -> list[int]:
    """The children of a process, of all of its threads."""
    return [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]


def _has_ended(pidfd: int) -> bool:
    try:
        signal.pidfd_send_signal(pidfd, 0)
    except ProcessLookupError:
        return True
    return False


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("missing", "cure"),
    [
        ("sdk.policies", "write sdk.policy"),
        ("gatewright.polcy", "write sdk.policy"),
        ("sdk.stores", "write sdk.store"),
        ("sdk", "the SDK has sdk.action, sdk.background, "),
    ],
)
def test_for_a_module_that_the_sdk_does_not_have_the_cure_names_one_that_it_has(missing: str, cure: str) -> None:
    assert sdk_cure(missing).startswith(cure)
