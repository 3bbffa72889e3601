"""The generated Go workspace, compiled. What the compiler says is said of the policy that it is about."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from gatewright_documents.mistake import Mistake

from gatewright_builder.engine_record import (
    ENGINE,
    PROGRAM,
    RECORD_FORM,
    EngineRecord,
    Form,
    GoModule,
    write_record,
)
from gatewright_builder.fetching.c_compiler import find_c_compiler
from gatewright_builder.fetching.go_command import find_go, go, toolchain
from gatewright_builder.generation import generate_workspace
from gatewright_builder.go_dependencies import asked_above
from gatewright_builder.go_module_copy import compiled_digest
from gatewright_builder.mistake import BuildError
from gatewright_builder.origin import Kind
from gatewright_builder.policy import Policy
from gatewright_builder.source_files import collect_go_source_files
from gatewright_builder.sources import Sources
from gatewright_builder.tree import Tree, text_digest, tree_digest, write_tree

WITHOUT_DWARF = "-ldflags=-w"
"""Debuggers alone read it; panics and profiles name lines without it, and the linker takes 0.7 of the time."""
DIAGNOSTIC = re.compile(r"^(?:\./)?(?P<file>[^\s:]+\.(?:go|mod)):(?P<line>\d+)(?::\d+)?: (?P<message>.*)$")


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One error of the Go compiler; `file` is relative to the generated workspace."""

    file: str
    line: int
    message: str


def engine_inputs(tree: Tree, sources: Sources) -> str:
    """A digest of all sources that the binary is made from: generated code, policies, engine and SDK."""
    product = (tree_digest(collect_go_source_files(folder)) for folder in (sources.engine, sources.go_sdk))
    return text_digest(RECORD_FORM, tree_digest(tree), *product)


def is_made_of(record: EngineRecord | None, inputs: str, form: Form = PROGRAM) -> bool:
    """Whether an engine is made of these sources, by this machine's compilers; by any where the machine has none."""
    if record is None or record.inputs != inputs:
        return False
    if find_go() is None or (form.with_c and find_c_compiler() is None):
        return True
    return record.toolchain == toolchain(with_c=form.with_c)


def compile_engine(
    folder: Path, tree: Tree, sources: Sources, policies: tuple[Policy, ...], form: Form = PROGRAM
) -> EngineRecord:
    """Writes the engine and its record, which it answers, into folder, which has neither. Raises BuildError.

    The same sources give the same bytes wherever they lie: no path and no repository's state gets into the binary.
    """
    with TemporaryDirectory() as temporary:
        workspace, built = Path(temporary) / "workspace", Path(temporary) / form.file
        write_tree(generate_workspace(tree, sources), workspace)
        if any(policy.origin.kind is Kind.GO_MODULE or "go.sum" in policy.sources for policy in policies):
            _fetch_modules(workspace, tree, policies, sources)
        flags = ("-trimpath", "-buildvcs=false", WITHOUT_DWARF, *form.flags)
        done = go("build", *flags, "-o", built, ".", folder=workspace, with_c=form.with_c)
        if done.returncode != 0:
            raise BuildError(list(_mistakes(done.stderr, tree, policies, sources)))
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy2(built, folder / form.file)
    record = _record(folder / form.file, engine_inputs(tree, sources), policies, toolchain(with_c=form.with_c))
    write_record(folder, record, form)
    return record


def _fetch_modules(workspace: Path, tree: Tree, policies: tuple[Policy, ...], sources: Sources) -> None:
    """Policies made apart may together need versions that none of their go.sum files has: Go adds their sums."""
    done = go("mod", "download", folder=workspace)
    if done.returncode != 0:
        raise BuildError(list(_mistakes(done.stderr, tree, policies, sources)))


def _record(binary: Path, inputs: str, policies: tuple[Policy, ...], made_by: str) -> EngineRecord:
    with binary.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    built = msgspec.json.decode(go("version", "-m", "-json", binary).stdout, type=_BuildInfo)
    modules = [GoModule(module.path, module.version, module.sum) for module in built.deps]
    return EngineRecord(inputs, made_by, sha256, {policy.key: compiled_digest(policy) for policy in policies}, modules)


class _Dependency(msgspec.Struct, rename="pascal"):
    path: str
    version: str = ""
    sum: str = ""


class _BuildInfo(msgspec.Struct, rename="pascal"):
    deps: list[_Dependency] = []


def _mistakes(stderr: str, tree: Tree, policies: tuple[Policy, ...], sources: Sources) -> Iterator[Mistake]:
    found, raised = list(_diagnostics(stderr)), "; ".join(map(str, asked_above(policies, sources)))
    raised_cure = f"{raised}: ask for a version that it compiles with" if raised else ""
    for diagnostic in found:
        yield _mistake(diagnostic, tree, policies, raised_cure)
    if not found:
        cure = raised_cure or "see what Go says; modules that are not on this machine come from its module proxy"
        yield Mistake.in_file(f"{ENGINE}/", "an engine that compiles", " ".join(stderr.split()), cure)


def _diagnostics(stderr: str) -> Iterator[Diagnostic]:
    """The errors; lines that begin with a tab go on with the one before."""
    for text in re.sub(r"\n\t+", "; ", stderr).splitlines():
        if found := DIAGNOSTIC.match(text):
            yield Diagnostic(found["file"], int(found["line"]), found["message"])


def _mistake(diagnostic: Diagnostic, tree: Tree, policies: tuple[Policy, ...], raised_cure: str) -> Mistake:
    expected = "Go that compiles"
    for policy in policies:
        prefix = f"policies/{policy.identifier}/"
        if diagnostic.file.startswith(prefix):
            file = diagnostic.file.removeprefix(prefix)
            return policy.mistake(file, expected, diagnostic.message, "fix it", diagnostic.line)
        if f"{policy.identifier}." in _line(tree, diagnostic):
            cure = "give GetPolicy the type v1alpha.Factory"
            return Mistake.in_file(policy.shown, expected, diagnostic.message, cure)
    cure = raised_cure or "no policy is at fault: check the sources of the engine"
    return Mistake.in_file(f"{ENGINE}/{diagnostic.file}", expected, diagnostic.message, cure, diagnostic.line)


def _line(tree: Tree, diagnostic: Diagnostic) -> str:
    lines = tree.get(diagnostic.file, b"").decode().splitlines()
    return lines[diagnostic.line - 1] if diagnostic.line <= len(lines) else ""
