"""The whole build: each step takes the last one's value."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sdk.definition import Runtime

from gatewright_builder import environment
from gatewright_builder.compile import BIN, ENGINE, compile_engine, engine_inputs, engine_is_current
from gatewright_builder.definitions import generate_definitions
from gatewright_builder.discovery import discover
from gatewright_builder.generation import MAIN_FILE, generate_engine, generate_python_executor
from gatewright_builder.imports import check_imports
from gatewright_builder.manifest import read_manifest
from gatewright_builder.output import (
    MANIFEST,
    PYTHON_PARTS,
    build_manifest,
    commit,
    refuse_foreign,
    stage,
    stage_file,
    staged,
)
from gatewright_builder.policy import Policy, of_runtime
from gatewright_builder.requirements import executor_asks, merge_requirements
from gatewright_builder.sources import Sources, find_sources
from gatewright_builder.tree import Tree
from gatewright_builder.validation import validate


def _say_nothing(_: str) -> None:
    pass


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """What to build, and where to.

    manifest: the build.yaml. output: the folder to make or to bring up to date. progress: told, in a few words, what
    is about to take seconds. source_root: the checkout to build from, by default the one around this package.
    """

    manifest: Path
    output: Path
    progress: Callable[[str], None] = _say_nothing
    source_root: Path | None = None


@dataclass(frozen=True, slots=True)
class BuildResult:
    """What is in the output folder, as absolute paths.

    executor (its main.py) and python (its interpreter) are None without Python policies. changed names the parts that
    this build wrote or removed; seconds says what each step took.
    """

    output: Path
    manifest: Path
    engine: Path
    definitions: Path
    executor: Path | None
    python: Path | None
    changed: tuple[str, ...]
    seconds: dict[str, float]

    @property
    def python_policies(self) -> bool:
        """Whether there are any, so whether an executor is to be started."""
        return self.executor is not None


@dataclass(frozen=True, slots=True)
class _Work:
    """One build under way."""

    output: Path
    staging: Path
    policies: tuple[Policy, ...]
    sources: Sources
    progress: Callable[[str], None]

    @property
    def python_policies(self) -> tuple[Policy, ...]:
        return of_runtime(self.policies, Runtime.PYTHON)

    def newest(self, part: str) -> Path:
        """The folder that holds a part: staging if this build made it, else the output."""
        return self.staging if (self.staging / part).exists() else self.output


@dataclass(slots=True)
class _Clock:
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - start


def build(options: BuildOptions) -> BuildResult:
    """Builds what the manifest says, and only what has changed. Raises BuildError; the output is then as before."""
    clock, output = _Clock(), options.output.resolve()
    refuse_foreign(output)
    with clock.step("read"):
        sources = find_sources(options.source_root)
        policies = validate(discover(read_manifest(options.manifest)))
        requirements = merge_requirements(executor_asks(sources), of_runtime(policies, Runtime.PYTHON))
    with staged(output) as staging:
        work = _Work(output, staging, policies, sources, options.progress)
        with clock.step("generate"):
            engine = _generate(work)
        with clock.step("environment"):
            _make_environment(work, requirements)
        with clock.step("imports"):
            _check_imports(work)
        with clock.step("compile"):
            _compile(work, engine)
        with clock.step("output"):
            changed = commit(staging, output, () if work.python_policies else PYTHON_PARTS)
    return _result(work, changed, clock.seconds)


def _generate(work: _Work) -> Tree:
    """Stages all generated parts; answers the engine's tree, which compiling needs."""
    engine = generate_engine(work.policies, work.sources, work.output / "policy-engine")
    for part, tree in {
        "policy-engine": engine,
        "policy-definitions": generate_definitions(work.policies),
        "python-executor": generate_python_executor(work.policies, work.sources),
    }.items():
        stage(work.staging, work.output, part, tree)
    stage_file(work.staging, work.output, MANIFEST, build_manifest(work.policies))
    return engine


def _make_environment(work: _Work, requirements: str) -> None:
    if work.python_policies and not environment.is_current(work.output, requirements):
        work.progress("installing what the executor and the Python policies need")
        environment.make_environment(work.staging, requirements, work.output / environment.LOCK)


def _check_imports(work: _Work) -> None:
    executor, python = work.newest("python-executor"), work.newest(environment.ENVIRONMENT)
    if work.python_policies and work.staging in (executor, python):
        work.progress("importing the Python policies")
        check_imports(environment.environment_python(python), executor / "python-executor", work.python_policies)


def _compile(work: _Work, engine: Tree) -> None:
    inputs = engine_inputs(engine, work.sources)
    if not engine_is_current(work.output, inputs):
        work.progress("compiling the policy engine")
        compile_engine(work.staging, engine, inputs, of_runtime(work.policies, Runtime.GO))


def _result(work: _Work, changed: tuple[str, ...], seconds: dict[str, float]) -> BuildResult:
    output, has_python = work.output, bool(work.python_policies)
    return BuildResult(
        output=output,
        manifest=output / MANIFEST,
        engine=output / BIN / ENGINE,
        definitions=output / "policy-definitions",
        executor=output / "python-executor" / MAIN_FILE if has_python else None,
        python=environment.environment_python(output) if has_python else None,
        changed=changed,
        seconds=seconds,
    )
