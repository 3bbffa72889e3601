from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gatewright_cli.clients.management import ApiDocument
from gatewright_cli.run.reloading import Reloaded, ReloadError, Reloads
from gatewright_cli.run.watching import SourceWatcher, policy_folders

if TYPE_CHECKING:
    from cli.tests.conftest import Bench


class Counted(Reloads):
    def __init__(self) -> None:
        self.count = 0

    async def reload(
        self,
        say: Callable[[str], None] = lambda _: None,
        apis: Sequence[ApiDocument] = (),  # noqa: ARG002 - no saved file brings any
    ) -> Reloaded:
        say("building")
        self.count += 1
        if self.count % 2:
            raise ReloadError(["every other one is refused"])
        return Reloaded(self.count, 0.0)


def write_manifest(folder: Path, *names: str) -> Path:
    """As editors do: a new file in the old one's place."""
    lines = [f"  - {{name: {name}, filePath: {name}}}" for name in names]
    (folder / "new").write_text("\n".join(["version: v1", "policies:", *lines, ""]))
    return (folder / "new").replace(folder / "build.yaml")


def test_the_folders_that_a_manifest_names(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path, "b", "a", "a")
    assert policy_folders(manifest) == [tmp_path / "a", tmp_path / "b"]
    manifest.write_text("policies: [")
    assert policy_folders(manifest) is None


def test_saved_files_of_the_project_reload_and_others_do_not(bench: Bench) -> None:
    folder, reloads = bench.folder.resolve(), Counted()
    for name in ("one", "two", "elsewhere"):
        (folder / name).mkdir()
    manifest = write_manifest(folder, "one")

    async def reloads_after(change: Callable[[], object]) -> None:
        before = reloads.count
        change()
        await bench.until(lambda: reloads.count > before)

    async def live() -> None:
        watching = asyncio.create_task(SourceWatcher(manifest, reloads, bench.output).run())
        await reloads_after(lambda: (folder / "one" / "policy.py").write_text(str(reloads.count)))
        await reloads_after(lambda: write_manifest(folder, "one", "two", "later"))
        await reloads_after(lambda: (folder / "two" / "data.txt").write_text("x"))
        await reloads_after(lambda: (folder / "later").mkdir(exist_ok=True))
        await reloads_after(lambda: (folder / "later" / "policy.py").write_text("x"))
        counted = reloads.count
        (folder / "elsewhere" / "x").write_text("x")
        (folder / "beside").write_text("x")
        await reloads_after(lambda: (folder / "one" / "policy.py").write_text("last"))
        assert reloads.count == counted + 1
        watching.cancel()
        await asyncio.wait({watching})

    bench.run(live())
    assert "watching" in bench.output.text()
