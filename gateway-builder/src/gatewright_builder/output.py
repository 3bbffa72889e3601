"""The output folder: parts that are made aside and take their places together, when all of them are ready."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from gatewright.definition import Runtime
from gatewright_documents.mistake import Mistake
from gatewright_documents.os_errors import os_reason

from gatewright_builder.engine_choice import MARK
from gatewright_builder.environment import ENVIRONMENT, environment_part, environment_python
from gatewright_builder.events import Note, Say, say_nothing
from gatewright_builder.generation import registry_file
from gatewright_builder.mistake import BuildError
from gatewright_builder.policy import Policy, group_access, groups
from gatewright_builder.resolution import Group
from gatewright_builder.sbom import SBOM
from gatewright_builder.tree import Tree, read_tree, write_tree

MANIFEST = "manifest.json"
REQUIREMENTS = "requirements"
PARTS = ("bin", "policy-engine", "policy-definitions", "python-executor", ENVIRONMENT, REQUIREMENTS, SBOM, MANIFEST)
OWN_MARKS = (MANIFEST, MARK)  # even if a build is killed, one of them is there


@dataclass(frozen=True, slots=True)
class GroupDigests:
    """whole: of what a group's processes run. base: of what its policies are imported with, without these."""

    whole: str
    base: str


def build_manifest(policies: tuple[Policy, ...], digests: Mapping[str, GroupDigests]) -> bytes:
    """manifest.json: the policies and what they were built from, sorted by name and version; the groups' processes.

    digests: for each group, the digests of what its processes run; a group whose digest stays the same needs no new
    processes.
    """
    content = {
        "version": 1,
        "policies": [_manifest_entry(policy) for policy in policies],
        "groups": {name: _manifest_group(name, digests[name], members) for name, members in groups(policies).items()},
    }
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()


def _manifest_entry(policy: Policy) -> dict[str, object]:
    return {
        "name": policy.name,
        "version": policy.version,
        "runtime": policy.runtime,
        "group": policy.group if policy.runtime is Runtime.PYTHON else "",
        "definition": policy.definition.content,
        "definitionDigest": policy.definition.digest,
        "kind": policy.entry.kind,
        "source": policy.origin.resolved,
        "sourceDigest": policy.source_digest,
        "licence": policy.origin.licence,
    }


def _manifest_group(name: str, digests: GroupDigests, policies: tuple[Policy, ...]) -> dict[str, object]:
    return {
        "python": environment_python(Path(), name).as_posix(),
        "registry": f"python-executor/{registry_file(name)}",
        "requirements": f"{REQUIREMENTS}/{name}.lock",
        "digest": digests.whole,
        "base": digests.base,
        "access": asdict(group_access(policies)),
    }


def group_digests(output: Path) -> dict[str, str]:
    """Those in the manifest of an output; none where there is no manifest that has them."""
    try:
        named = json.loads((output / MANIFEST).read_bytes())["groups"]
        return {name: group["digest"] for name, group in named.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def checked_imports(output: Path, group: str, base: str) -> dict[str, str]:
    """The source digests, by name:version, of a group's policies that an earlier build has imported with this base."""
    try:
        manifest = json.loads((output / MANIFEST).read_bytes())
        if manifest["groups"][group]["base"] != base:
            return {}
        members = [policy for policy in manifest["policies"] if policy["group"] == group]
        return {f"{policy['name']}:{policy['version']}": policy["sourceDigest"] for policy in members}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def generate_requirements(resolved: tuple[Group, ...]) -> Tree:
    """requirements/: for each group GROUP.txt, its requirements with the policies that have them, and GROUP.lock."""
    texts = {f"{group.name}.txt": group.requirements for group in resolved}
    locks = {f"{group.name}.lock": group.pin.text for group in resolved}
    return {file: text.encode() for file, text in sorted((texts | locks).items())}


def refuse_foreign(output: Path) -> None:
    """Raises BuildError unless output is free to be written: no such folder, an empty one, or an earlier output."""
    if not output.exists() or any((output / part).exists() for part in OWN_MARKS):
        return
    if not output.is_dir() or any(output.iterdir()):
        got = "a folder with other things in it" if output.is_dir() else "a file"
        raise BuildError(
            [Mistake.in_file(str(output), "a new, an empty or an earlier output folder", got, "name another one")]
        )


@contextmanager
def staged(output: Path, say: Say = say_nothing) -> Iterator[Path]:
    """A folder beside output, empty, for the parts of one build; gone afterwards. One build at a time makes an output.

    What the file system refuses meanwhile (no permission, no space) is a BuildError.
    """
    folder = output.with_name(f".{output.name}.staging")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder, lambda: say(Note(f"another build of {output} is under way: waiting until it has ended"))):
            try:
                _empty(folder)
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        expected = "an output folder that can be written"
        cure = "name another one with --output, or make room and give permission"
        raise BuildError([Mistake.in_file(str(output), expected, os_reason(error), cure)]) from error


@contextmanager
def _locked(folder: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Makes the folder, and locks it until it is removed or the process ends."""
    while True:
        with suppress(FileExistsError):
            folder.mkdir()
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:
            continue  # its build has ended
        try:
            _lock(handle, waiting)
            if _is_at(folder, handle):
                yield
                return
        finally:
            os.close(handle)


def _lock(handle: int, waiting: Callable[[], None]) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        waiting()
        fcntl.flock(handle, fcntl.LOCK_EX)


def _is_at(folder: Path, handle: int) -> bool:
    """Whether the open folder is still there: the build that had locked it has removed it."""
    try:
        return os.path.samestat(folder.lstat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def stage(staging: Path, output: Path, part: str, tree: Tree) -> bool:
    """Makes a part of a tree, unless output has the very same; answers whether it did.

    Bytecode counts too: Python would run it in place of the source that is beside it.
    """
    if (output / part).is_dir() and read_tree(output / part, lambda _: False) == tree:
        return False
    write_tree(tree, staging / part)
    return True


def stage_file(staging: Path, output: Path, part: str, content: bytes) -> bool:
    """The same for a part that is a file."""
    if (output / part).is_file() and (output / part).read_bytes() == content:
        return False
    (staging / part).write_bytes(content)
    return True


def commit(staging: Path, output: Path, unwanted: tuple[str, ...]) -> tuple[str, ...]:
    """Puts the staged parts into output and takes unwanted ones away; all of it or nothing. Answers what changed."""
    before = staging / "before"
    before.mkdir()
    output.mkdir(exist_ok=True)
    changed = tuple(part for part in _parts(staging, output) if _changes(part, staging, output, unwanted))
    done: list[tuple[Path, Path]] = []
    try:
        for part in changed:
            for source, target in ((output / part, before / part), (staging / part, output / part)):
                if source.exists():
                    target.parent.mkdir(exist_ok=True)
                    source.rename(target)
                    done.append((source, target))
    except OSError:
        for source, target in reversed(done):
            target.rename(source)
        raise
    return changed


def _parts(*folders: Path) -> list[str]:
    """All that a build output may hold; an environment for each group."""
    environments = {path.name for folder in folders for path in (folder / ENVIRONMENT).glob("*")}
    named = [environment_part(name) for name in sorted(environments)]
    return [name for part in PARTS for name in ((*named, part) if part == ENVIRONMENT else (part,))]


def unwanted_parts(output: Path, policies: tuple[Policy, ...]) -> tuple[str, ...]:
    """What an earlier build left in the output that this one has no use for."""
    wanted = groups(policies)
    if not wanted:
        return ENVIRONMENT, REQUIREMENTS
    return tuple(environment_part(path.name) for path in (output / ENVIRONMENT).glob("*") if path.name not in wanted)


def _changes(part: str, staging: Path, output: Path, unwanted: tuple[str, ...]) -> bool:
    is_staged = (staging / part).exists() and part != ENVIRONMENT
    return is_staged or (part in unwanted and (output / part).exists())
