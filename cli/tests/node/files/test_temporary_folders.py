from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from gatewright_cli.mistakes import PreflightError
from gatewright_cli.node.files.temporary_folders import TemporaryFolders
from gatewright_cli.supervision.temporary_folder import TemporaryFolder


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The machine's temporary directory."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def test_a_folder_is_private_and_empty_at_each_start() -> None:
    folders = TemporaryFolders.open()
    folder = TemporaryFolder(folders.path / "one")
    for _ in range(2):
        asyncio.run(folder.make())
        assert list(folder.path.iterdir()) == []
        assert folder.path.stat().st_mode & 0o777 == 0o700
        (folder.path / "left").write_text("x")
    asyncio.run(folder.remove())
    assert not folder.path.exists()
    folders.close()


def test_an_unwritable_temporary_folder_is_a_mistake_with_a_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a read-only root without a /tmp, say."""
    for folder in ("/proc/none", "/proc"):
        monkeypatch.setattr(tempfile, "tempdir", folder)
        with pytest.raises(PreflightError, match=r"temporary folders of executors: .*: name a folder .* TMPDIR"):
            TemporaryFolders.open()


def test_others_pass_through_and_see_no_names(home: Path) -> None:
    folders = TemporaryFolders.open()
    assert folders.path.parent == home
    assert folders.path.stat().st_mode & 0o777 == 0o711
    folders.close()
    assert list(home.iterdir()) == []


def test_folders_in_folders_as_deep_as_a_policy_likes_go_too() -> None:
    folders = TemporaryFolders.open()
    folder = TemporaryFolder(folders.path / "one")
    asyncio.run(folder.make())
    deep = "import os\nos.chdir(os.sys.argv[1])\nfor _ in range(3000): os.mkdir('d'); os.chdir('d')"
    subprocess.run([sys.executable, "-c", deep, str(folder.path)], check=True)
    asyncio.run(folder.remove())
    assert not folder.path.exists()
    folders.close()


CLOSED = """
import asyncio, os, sys
from pathlib import Path
from gatewright_cli.supervision.temporary_folder import TemporaryFolder
asyncio.run(asyncio.to_thread(int))  # so that all is imported
if os.getuid() == 0:  # whom file modes do not restrict
    os.setresuid(65500, 65500, 65500)
one = TemporaryFolder(Path(sys.argv[1]) / "one")
asyncio.run(one.make())
(one.path / "closed").mkdir(0o300)
(one.path / "closed" / "file").touch()
asyncio.run(one.remove())
print(one.path.exists())
"""


def test_folders_that_a_policy_has_closed_go_too() -> None:
    """It may make them so, where it may not change their modes."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        Path(folder).chmod(0o777)
        result = subprocess.run([sys.executable, "-c", CLOSED, folder], capture_output=True, text=True, check=False)
    assert (result.stdout, result.stderr) == ("False\n", "")


def test_temporary_folders_of_killed_runs_are_removed_and_those_of_live_runs_stay(home: Path) -> None:
    program = (
        "import os\nfrom gatewright_cli.node.files.temporary_folders import TemporaryFolders\n"
        "print(TemporaryFolders.open().path, flush=True)\nos._exit(9)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert Path(killed.stdout.strip()).is_relative_to(home)
    live = TemporaryFolders.open()
    assert not Path(killed.stdout.strip()).exists()
    other = TemporaryFolders.open()
    assert sorted(home.iterdir()) == sorted([live.path, other.path])
    for folders in (live, other):
        folders.close()


def test_a_removal_that_is_cancelled_leaves_no_process(tmp_path: Path) -> None:
    folder = TemporaryFolder(tmp_path / "one")
    folder.path.mkdir()
    go_on = threading.Event()

    async def cancel_at_once() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        busy = loop.run_in_executor(None, go_on.wait)  # as with many processes that stop at once
        pid = loop.create_future()
        removing = asyncio.create_task(folder.remove(pid.set_result))
        process = Path(f"/proc/{await pid}")
        removing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await removing
        end = time.monotonic() + 30
        while process.exists() and time.monotonic() < end:
            await asyncio.sleep(0.01)
        is_reaped = not process.exists()
        go_on.set()
        await busy
        assert is_reaped

    asyncio.run(cancel_at_once())
    assert not folder.path.exists()


@pytest.mark.skipif(os.getuid() != 0, reason="needs to be root")
def test_it_belongs_to_the_user_that_it_is_for() -> None:
    folders = TemporaryFolders.open()
    folder = TemporaryFolder(folders.path / "one", (61184, 61184))
    asyncio.run(folder.make())
    assert (folder.path.stat().st_uid, folder.path.stat().st_gid) == (61184, 61184)
    folders.close()
