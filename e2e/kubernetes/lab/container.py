"""A container: a program in the pod's network, with processes and a view of this machine's files of its own."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from e2e.kubernetes.lab.network import Namespace

OUTSIDE = """
set -eu
top=$1 root=$1/root inside=$2; shift 2
hostname "$HOSTNAME"
mount --make-rprivate /
mount -t overlay overlay -o "lowerdir=/,upperdir=$top/files,workdir=$top/work" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --rbind /sys "$root/sys"
mkdir "$root/.volumes"
number=0
for word in "$@"; do
    [ "$word" != -- ] || break
    number=$((number + 1))
    [ $((number % 2)) = 1 ] || continue
    stage="$root/.volumes/$number"
    if [ -d "$word" ]; then mkdir "$stage"; else touch "$stage"; fi
    mount --bind "$word" "$stage"
done
exec chroot "$root" sh -c "$inside" container "$@"
"""
"""The root is this machine's, below what the container writes. Arguments: pairs of a source and its path in there,
"--", the working directory and the command. Sources get a place in the root first: its links lead right only inside."""
INSIDE = """
set -eu
number=1
while [ "$1" != -- ]; do
    stage=/.volumes/$number
    if [ -d "$stage" ]; then mkdir -p "$2"; else mkdir -p "$(dirname "$2")" && touch "$2"; fi
    mount --bind "$stage" "$2"
    number=$((number + 2))
    shift 2
done
cd "$2"
shift 2
exec "$@"
"""


@dataclass(frozen=True)
class Launch:
    """What to start. mounts: a folder of this machine for each path of the container. files: their text by path."""

    command: list[str]
    environment: dict[str, str]
    mounts: dict[str, Path]
    files: dict[str, str]
    work: str


class Container:
    """A running program. Its processes end with it, and it with this process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, launch: Launch, namespace: Namespace, folder: Path, log: Path) -> Container:
        for name in ("files", "work", "root"):
            (folder / name).mkdir(parents=True)
        for path, text in launch.files.items():
            file = folder / "files" / path.removeprefix("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        mounts = [word for path, source in launch.mounts.items() for word in (str(source), path)]
        isolate = ["unshare", "--uts", "--mount", "--pid", "--fork", "--kill-child=SIGKILL"]
        script = ["sh", "-c", OUTSIDE, "container", str(folder), INSIDE, *mounts, "--", launch.work]
        command = ["setpriv", "--pdeathsig", "KILL", *namespace.within, *isolate, *script, *launch.command]
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *command, env=launch.environment, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output
            )
        return cls(process)

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.returncode

    async def wait(self) -> int:
        return await self._process.wait()

    def first_pid(self) -> int | None:
        """Of the process that is 1 in the container; None where it has ended."""
        try:
            children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        except FileNotFoundError:
            return None
        return int(children[0]) if children else None

    def kill(self) -> None:
        """Kills all of its processes at once."""
        if self._process.returncode is None:
            self._process.kill()

    async def stop(self, grace: float) -> None:
        """SIGTERM to its first process, and SIGKILL to all after the grace period, in seconds."""
        pid = self.first_pid()
        if pid is not None and self._process.returncode is None:
            os.kill(pid, signal.SIGTERM)
        try:
            await asyncio.wait_for(self._process.wait(), grace)
        except TimeoutError:
            self.kill()
            await self._process.wait()
