"""The generations of a run: frozen copies of the build outputs that it used, since a later build replaces the files.

    OUTPUT/generations/run-XXXX/        one run; removed when it ends
        .lock                           held while it lasts
        shared-1/, shared-2/, …         an engine's folder, or an environment, of hard links
        1/, 2/, …                       complete build outputs, of hard links; all have the first one's engine, unless
                                        Envoy and the engine inside of it are started again for another one. Engine
                                        and environments are links to shared folders: a build that has not changed one
                                        finds its files with the time of change that it knows, and reads none of them
        current -> 2                    where the controller finds its definitions

A read-only output cannot change either: it is used as it is, and has no second generation.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec
from gatewright_documents.os_errors import os_reason

from gatewright_cli.builds import build_output
from gatewright_cli.builds.apart import Apart
from gatewright_cli.builds.build_output import BuildOutput

FOLDER = "generations"
LOCK = ".lock"
CURRENT = "current"
MANIFEST = "manifest.json"
DEFINITIONS = "policy-definitions"
ENGINE, ENVIRONMENTS = "bin", "python-env"
PYTHON_PARTS = ("python-executor", "requirements")
SHARED = "shared-"
PASSABLE = 0o711
"""Independent of the umask, since executors may have users of their own. Files keep the output's permissions."""


class _Policies(msgspec.Struct):
    policies: list[dict[str, object]]


class GenerationError(Exception):
    """A build output cannot become a generation. The message says why, and the cure."""


@dataclass(frozen=True)
class Generation:
    """A build output that stays unchanged while processes run from it. `notes`: changes that need a restart."""

    number: int
    build: BuildOutput
    notes: tuple[str, ...] = ()

    @property
    def definitions(self) -> Path:
        """The folder of its policies' definitions."""
        return self.build.path / DEFINITIONS


class Generations:
    """The generations of one run. Open it, freeze outputs into it, adopt or drop each generation, close it."""

    def __init__(
        self,
        output: BuildOutput,
        folder: Path | None,
        lock: IO[str] | None,
        apart: Apart | None = None,
        *,
        keeps_engine: bool = True,
    ) -> None:
        self._output, self._folder, self._lock, self._apart = output, folder, lock, apart
        self._keeps_engine = keeps_engine
        self._last = self._last_shared = 0
        self._shared: dict[Path, dict[str, int | str]] = {}  # the inodes of their files, by folder

    @classmethod
    def open(cls, output: BuildOutput, apart: Apart | None = None, *, keeps_engine: bool = True) -> Generations:
        """Makes the run's folder, and removes those of killed runs. Raises GenerationError.

        apart: splits slow policies off their groups; None: they stay. keeps_engine: whether all generations have the
        first one's engine and Go policies.
        """
        try:
            _make_passable(output.path / FOLDER)
            with _locked_folder(output.path / FOLDER):
                _remove_abandoned(output.path / FOLDER)
                folder = Path(tempfile.mkdtemp(prefix="run-", dir=output.path / FOLDER))
                folder.chmod(PASSABLE)
                lock = (folder / LOCK).open("w")
                fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise _copy_error(output, error) from error
            return cls(output, None, None, keeps_engine=keeps_engine)
        return cls(output, folder, lock, apart, keeps_engine=keeps_engine)

    @property
    def definitions(self) -> Path:
        """The present generation's policy definitions, at a path that stays the same."""
        return (self._folder / CURRENT if self._folder else self._output.path) / DEFINITIONS

    @property
    def engine(self) -> Path:
        """The engine's program, at a path that stays the same."""
        return (self._folder / CURRENT if self._folder else self._output.path) / ENGINE / "policy-engine"

    def first(self) -> Generation:
        """The output as it is now, adopted. Raises GenerationError, BuildOutputError."""
        if self._folder is None:
            return Generation(1, self._output)
        generation = self._freeze(self._output, None)
        self.adopt(generation)
        return generation

    def next(self, present: Generation) -> Generation:
        """The output as it is now. Raises GenerationError, BuildOutputError; adopt or drop the generation."""
        if self._folder is None:
            raise GenerationError(
                f"{self._output.path} cannot be written to, so this run has no other generation than its first: "
                "restart it with another build"
            )
        return self._freeze(build_output.load(self._output.path), present)

    def adopt(self, generation: Generation) -> None:
        """Makes the generation the present one."""
        if self._folder is not None:
            scratch = self._folder / f".{CURRENT}.new"
            scratch.symlink_to(generation.build.path.name)
            scratch.replace(self._folder / CURRENT)

    def drop(self, generation: Generation) -> None:
        """Removes the generation's files, when no process runs from them."""
        if self._folder is not None:
            shutil.rmtree(generation.build.path, ignore_errors=True)
            used = set(map(Path.readlink, _links(self._folder)))
            for folder in self._shared.keys() - used:
                del self._shared[folder]
                shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Removes the run's folder; no process runs from it any more."""
        if self._lock is not None and self._folder is not None and not self._lock.closed:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._lock.close()
            with contextlib.suppress(OSError):  # other runs have theirs there
                self._folder.parent.rmdir()

    def _freeze(self, output: BuildOutput, present: Generation | None) -> Generation:
        assert self._folder is not None
        self._last += 1
        target = self._folder / str(self._last)
        _make_passable(target)
        try:
            compiled = present if self._keeps_engine else None
            policies, notes = _merge_policies(output, compiled)
            self._share((compiled.build.path if compiled else output.path) / ENGINE, target / ENGINE)
            _make_passable(target / ENVIRONMENTS)
            for environment in sorted(output.path.glob(f"{ENVIRONMENTS}/*")):
                self._share(environment, target / ENVIRONMENTS / environment.name)
            for part in PYTHON_PARTS:
                _link(output.path, target, part)
            sources = [output.path, *([present.build.path] if present else [])]
            content = {**_content(output), "policies": policies}
            if self._apart is not None:
                content, apart = self._apart.split(content, output.path, target)
                notes = [*notes, *apart]
            _write_policies(content, policies, sources, target)
            return Generation(self._last, build_output.load(target), tuple(notes))
        except BaseException as error:
            shutil.rmtree(target, ignore_errors=True)
            if isinstance(error, OSError):
                raise _copy_error(output, error) from error
            raise

    def _share(self, source: Path, target: Path) -> None:
        """Makes `target` a link to a folder of the run with the files of `source`: one that is there, or a new one."""
        assert self._folder is not None
        files = _inodes(source)
        for folder, there in self._shared.items():
            if there == files:
                target.symlink_to(folder)
                return
        self._last_shared += 1
        folder = self._folder / f"{SHARED}{self._last_shared}"
        target.symlink_to(folder)  # before the folder exists, since one without a link to it is removed
        shutil.copytree(source, folder, symlinks=True, copy_function=_link_file)
        self._shared[folder] = files


def _copy_error(output: BuildOutput, error: OSError) -> GenerationError:
    cure = "make room, or build into another folder with --output"
    return GenerationError(f"{output.path}: the run's own copy of the build cannot be made: {os_reason(error)}; {cure}")


def _links(folder: Path) -> Iterator[Path]:
    """The links of all generations to shared folders."""
    yield from folder.glob(f"[0-9]*/{ENGINE}")
    yield from folder.glob(f"[0-9]*/{ENVIRONMENTS}/*")


def _inodes(folder: Path) -> dict[str, int | str]:
    """By path below a folder: the inode of a file, the target of a link."""
    inodes: dict[str, int | str] = {}
    for parent, folders, files in os.walk(folder):
        for name in (*files, *folders):
            path = os.path.join(parent, name)  # noqa: PTH118 - thousands of them
            if os.path.islink(path):  # noqa: PTH114
                inodes[os.path.relpath(path, folder)] = os.readlink(path)  # noqa: PTH115
            elif name in files:
                inodes[os.path.relpath(path, folder)] = os.stat(path).st_ino  # noqa: PTH116
    return inodes


def _make_passable(folder: Path) -> None:
    if not folder.exists():
        folder.mkdir()
        folder.chmod(PASSABLE)


def _merge_policies(output: BuildOutput, present: Generation | None) -> tuple[list[dict[str, object]], list[str]]:
    """The output's Python policies, with the Go policies of the running engine, and notes on differences."""
    fresh = _policies(output)
    if present is None:
        return fresh, []
    before = _policies(present.build)
    compiled = {_key(policy): policy for policy in before if policy["runtime"] == "go"}
    wanted = {_key(policy): policy for policy in fresh if policy["runtime"] == "go"}
    python = [policy for policy in fresh if policy["runtime"] == "python"]
    _refuse_changed(before, fresh)
    merged = sorted([*compiled.values(), *python], key=lambda policy: (str(policy["name"]), str(policy["version"])))
    return merged, list(_go_notes(compiled, wanted))


def _refuse_changed(before: list[dict[str, object]], fresh: list[dict[str, object]]) -> None:
    """Refuses changed definitions of Go policies, since these run as they were compiled into the engine."""
    digests = {_key(policy): policy["definitionDigest"] for policy in before if policy["runtime"] == "go"}
    changed = [
        f"Go policy {_key(policy)} ({policy['source']}): expected the definition that it had when the run began, got "
        "another one; restart the run for it, or give it a new version"
        for policy in fresh
        if digests.get(_key(policy), policy["definitionDigest"]) != policy["definitionDigest"]
    ]
    if changed:
        raise GenerationError("\n".join(changed))


def _go_notes(compiled: dict[str, dict[str, object]], wanted: dict[str, dict[str, object]]) -> Iterator[str]:
    cure = "restart the run for it: Go policies are compiled into the engine"
    for key in sorted(wanted.keys() - compiled.keys()):
        yield f"Go policy {key} is new; {cure}"
    for key in sorted(compiled.keys() - wanted.keys()):
        yield f"Go policy {key} is no longer in the build, but still runs; {cure}"
    for key in sorted(wanted.keys() & compiled.keys()):
        if wanted[key]["sourceDigest"] != compiled[key]["sourceDigest"]:
            yield f"Go policy {key} has changed, but still runs as it was; {cure}"


def _policies(output: BuildOutput) -> list[dict[str, object]]:
    content: _Policies = msgspec.json.decode(output.manifest.read_bytes(), type=_Policies)
    return content.policies


def _content(output: BuildOutput) -> dict[str, object]:
    content: dict[str, object] = msgspec.json.decode(output.manifest.read_bytes())
    return content


def _key(policy: dict[str, object]) -> str:
    return f"{policy['name']}:{policy['version']}"


def _write_policies(
    manifest: dict[str, object], policies: list[dict[str, object]], sources: list[Path], target: Path
) -> None:
    """manifest.json, and the definitions of the policies in it from the first source that has them."""
    (target / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2))
    (target / DEFINITIONS).mkdir()
    for policy in policies:
        name = f"{policy['name']}-{policy['version']}.yaml"
        file = next(source / DEFINITIONS / name for source in sources if (source / DEFINITIONS / name).exists())
        _link_file(str(file), str(target / DEFINITIONS / name))


def _link(source: Path, target: Path, part: str) -> None:
    if (source / part).is_dir():
        shutil.copytree(source / part, target / part, symlinks=True, copy_function=_link_file)
    elif (source / part).exists():
        _link_file(str(source / part), str(target / part))


def _link_file(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copy2(source, target)


@contextlib.contextmanager
def _locked_folder(folder: Path) -> Iterator[None]:
    """Locks the folder: one run at a time makes or removes folders in it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _remove_abandoned(folder: Path) -> None:
    for run in folder.glob("run-*"):
        try:
            with (run / LOCK).open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(run, ignore_errors=True)
        except FileNotFoundError:
            shutil.rmtree(run, ignore_errors=True)
        except BlockingIOError:
            continue
