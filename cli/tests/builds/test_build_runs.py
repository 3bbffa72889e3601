"""Builds in a process of their own, by the real builder: of input that it refuses, or that it never has read."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from gatewright_cli.builds.build_runs import BuildRefusedError, BuildRuns

if TYPE_CHECKING:
    from cli.tests.conftest import Bench

DEFINITION = "name: one\nversion: v1.0.0\nruntime: python\nprocessingMode: {requestHeaderMode: PROCESS}\n"
MANIFEST = "version: v1\npolicies:\n  - {name: one, filePath: one}\n"


class Place:
    """A folder with a policy that has no definition, and builds of it."""

    def __init__(self, folder: Path, warm: bool = True) -> None:
        self.policy = folder / "one"
        self.policy.mkdir()
        (folder / "build.yaml").write_text(MANIFEST)
        self.runs = BuildRuns(folder / "build.yaml", folder / "out", 60.0, warm)

    async def refused(self) -> list[str]:
        with pytest.raises(BuildRefusedError) as refused:
            await self.runs.build(lambda _: None, lambda *_: None)
        return refused.value.reasons

    @property
    def process(self) -> int | None:
        return self.runs._process.pid if self.runs._process else None

    def never_ends(self) -> None:
        """A pipe without a writer: reading the policy's files blocks."""
        (self.policy / "policy-definition.yaml").write_text(DEFINITION)
        os.mkfifo(self.policy / "policy.py")

    async def building(self, bench: Bench) -> tuple[asyncio.Task[list[str]], int]:
        """A build under way, and its process."""
        task = asyncio.create_task(self.runs.build(lambda _: None, lambda *_: None))
        await bench.until(lambda: self.process and children(self.process))
        assert self.process
        return task, children(self.process)[0]


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_mistakes_are_sentences_and_the_process_stays(bench: Bench) -> None:
    async def live() -> None:
        place = Place(bench.folder)
        (reason,) = await place.refused()
        assert reason.startswith("one/policy-definition.yaml: expected "), reason
        first = place.process
        assert (await place.refused(), place.process) == ([reason], first)
        await place.runs.close()
        assert not bench.alive(first)

    bench.run(live())


def test_without_a_watch_no_process_stays(bench: Bench) -> None:
    async def live() -> None:
        place = Place(bench.folder, warm=False)
        assert await place.refused()
        assert place.process is None

    bench.run(live())


def test_a_build_that_is_cancelled_ends_and_the_next_one_needs_no_new_process(bench: Bench) -> None:
    async def live() -> None:
        place = Place(bench.folder)
        place.never_ends()
        task, build = await place.building(bench)
        process = place.process
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
        assert not bench.alive(build)
        (place.policy / "policy.py").unlink()
        assert await place.refused()
        assert place.process == process
        await place.runs.close()

    bench.run(live())


def test_a_build_ends_with_its_run(bench: Bench) -> None:
    async def live() -> None:
        place = Place(bench.folder)
        place.never_ends()
        task, build = await place.building(bench)
        process = place.process
        await place.runs.close()
        with pytest.raises(BuildRefusedError):
            await task
        await bench.until(lambda: not bench.alive(build) and not bench.alive(process))

    bench.run(live())


def test_a_process_that_was_killed_takes_its_build_with_it_and_is_started_again(bench: Bench) -> None:
    async def live() -> None:
        place = Place(bench.folder)
        place.never_ends()
        task, build = await place.building(bench)
        process = place.process
        assert process
        os.kill(process, signal.SIGKILL)
        with pytest.raises(BuildRefusedError, match="the build ended with -9"):
            await task
        await bench.until(lambda: not bench.alive(build))
        (place.policy / "policy.py").unlink()
        assert await place.refused()
        assert place.process != process
        await place.runs.close()

    bench.run(live())


FORGETS = """
import json, os
from gatewright_cli.builds import build_process
build_process.keep_builder_environment()
print(json.dumps(dict(os.environ)))
"""


def test_the_process_of_builds_drops_other_variables() -> None:
    others = ("GATEWRIGHT_CONTROLLER_TOKEN", "AWS_SECRET_ACCESS_KEY", "GOOGLE_KEY")
    environment = os.environ | dict.fromkeys((*others, "GITHUB_TOKEN", "UV_DEFAULT_INDEX"), "s3cr3t-t0ken")
    output = subprocess.run([sys.executable, "-c", FORGETS], env=environment, capture_output=True, check=True).stdout
    kept = json.loads(output)
    assert {"PATH", "GITHUB_TOKEN", "UV_DEFAULT_INDEX"} <= kept.keys()
    assert not kept.keys() & set(others)
