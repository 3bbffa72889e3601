"""The whole build: each step takes the last one's value."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gatewright.definition import Runtime

from gatewright_builder import environment
from gatewright_builder.bytecode import compile_modules
from gatewright_builder.discovery import discover
from gatewright_builder.engine_choice import BIN, EnginePart, make_engine
from gatewright_builder.engine_record import ENGINE, FORMS, read_record
from gatewright_builder.events import FIRST_SECONDS, Note, Say, say_nothing, step
from gatewright_builder.fetching.cache import user_cache
from gatewright_builder.fetching.location import locate
from gatewright_builder.generation import (
    MAIN_FILE,
    generate_definitions,
    generate_engine,
    generate_python_executor,
    group_base,
    group_digest,
    registry_file,
)
from gatewright_builder.import_check import LIMIT_SECONDS, ImportCheck
from gatewright_builder.lock_file import Lock, lock_path, read_lock, refuse_change, write_lock
from gatewright_builder.manifest import Manifest, read_manifest
from gatewright_builder.mistake import Mistakes, refuse_if_any
from gatewright_builder.output import (
    MANIFEST,
    REQUIREMENTS,
    GroupDigests,
    build_manifest,
    checked_imports,
    commit,
    generate_requirements,
    group_digests,
    refuse_foreign,
    stage,
    stage_file,
    staged,
    unwanted_parts,
)
from gatewright_builder.policy import Policy, of_runtime
from gatewright_builder.python_source import unread_bodies, unused_hooks
from gatewright_builder.records import Contents, Records, contents_of, user_records
from gatewright_builder.requirements import executor_requirements
from gatewright_builder.resolution import Group, resolve
from gatewright_builder.sbom import SBOM, Materials, generate_sbom, installed_packages, is_of
from gatewright_builder.slow_imports import record_imports
from gatewright_builder.sources import Sources, find_sources
from gatewright_builder.tree import Tree, read_tree
from gatewright_builder.validation import validate

IMPORTS_AT_ONCE = 2
EXECUTOR = "python-executor"


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """What to build, and where to.

    manifest: the build.yaml; build.lock is beside it. output: the folder to make or to bring up to date. say: receives
    the progress. locked: whether to refuse what is not in build.lock. source_root: the checkout to build from, by
    default the one around this package. import_seconds: how long the import of one policy may take. engine: False makes
    neither engine nor SBOM, for callers that run Python policies alone. module: makes the engine also as the library
    that Envoy loads, for which there must be a C compiler.
    """

    manifest: Path
    output: Path
    say: Say = say_nothing
    locked: bool = False
    source_root: Path | None = None
    import_seconds: float = LIMIT_SECONDS
    engine: bool = True
    module: bool = False


@dataclass(frozen=True, slots=True)
class GroupResult:
    """What a group's executor runs with: its interpreter and its registry of policies."""

    python: Path
    registry: Path


@dataclass(frozen=True, slots=True)
class BuiltPolicy:
    """A policy of a build. group: of its executors; "" for a Go policy."""

    name: str
    version: str
    runtime: str
    group: str


@dataclass(frozen=True, slots=True)
class BuildResult:
    """What is in the output folder, as absolute paths.

    executor: main.py of the executors, None without Python policies. groups: by name, sorted. changed names the parts
    that this build wrote or removed; seconds says what each step took. is_stock: whether the engine is a stock one.
    """

    output: Path
    manifest: Path
    engine: Path
    definitions: Path
    executor: Path | None
    groups: Mapping[str, GroupResult]
    changed: tuple[str, ...]
    seconds: dict[str, float]
    policies: tuple[BuiltPolicy, ...]
    is_stock: bool


@dataclass(frozen=True, slots=True)
class _Plan:
    """Right input, resolved: nothing of it changes any more."""

    policies: tuple[Policy, ...]
    groups: tuple[Group, ...]
    lock: Lock
    sources: Sources


@dataclass(frozen=True, slots=True)
class _Work:
    """One build under way."""

    output: Path
    staging: Path
    plan: _Plan
    say: Say
    import_seconds: float
    digests: Mapping[str, GroupDigests]
    records: Records
    made: dict[str, Contents] = field(default_factory=dict)  # by part of the output: what is in those made by tools

    def newest(self, part: str) -> Path:
        """Where a part is: in staging if this build made it, else in the output."""
        made = self.staging / part
        return made if made.exists() else self.output / part


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
    clock, output, is_stock = _Clock(), options.output.resolve(), False
    refuse_foreign(output)
    with clock.step("read"):
        plan = _plan(options)
    with staged(output, options.say) as staging:
        mistakes = Mistakes()
        with clock.step("generate"):
            work = _generate(options, output, staging, plan)
        with clock.step("environments"):
            ready = _make_environments(work, mistakes)
        with clock.step("imports"), mistakes.gather():
            _check_imports(work, ready)
        with clock.step("engine"), mistakes.gather():
            is_stock = options.engine and _make_engine(work, options.module)
        refuse_if_any(mistakes.found)
        with clock.step("output"):
            if options.engine:
                _stage_sbom(work)
            write_lock(lock_path(options.manifest), plan.lock)
            _read_what_was_made(work)
            changed = commit(staging, output, unwanted_parts(output, plan.policies))
            for name, contents in work.made.items():
                work.records.keep(output / name, contents)
    return _result(work, changed, clock.seconds, is_stock)


def _plan(options: BuildOptions) -> _Plan:
    """Everything that is read, and all mistakes that reading finds."""
    sources, lock = find_sources(options.source_root), read_lock(lock_path(options.manifest))
    executor = executor_requirements(sources)
    manifest = read_manifest(options.manifest)
    located = locate(manifest, lock.sources, options.say, sources)
    policies = validate(discover(located), executor)
    for policy in of_runtime(policies, Runtime.PYTHON):
        for text in (*unused_hooks(policy), *unread_bodies(policy)):
            options.say(Note(text))
    groups = resolve(policies, executor, lock.groups, options.say, manifest.sdists)
    plan = _Plan(policies, groups, Lock(1, located.pins, {group.name: group.pin for group in groups}), sources)
    for text in _unused_sdists(manifest, groups):
        options.say(Note(text))
    if options.locked:
        refuse_change(lock_path(options.manifest), plan.lock)
    return plan


def _unused_sdists(manifest: Manifest, groups: tuple[Group, ...]) -> Iterator[str]:
    """An attacker who takes the name of a package that is no longer asked for would have code run here."""
    used = {name for group in groups for name in group.pin.sdists}
    for name in manifest.sdists:
        if name not in used:
            yield f"{manifest.path.name}: sdists has {name}, which no policy asks for: take it out"


def _generate(options: BuildOptions, output: Path, staging: Path, plan: _Plan) -> _Work:
    policies, sources, records = plan.policies, plan.sources, user_records()
    executor = generate_python_executor(policies, sources)
    for part, tree in {
        "policy-engine": generate_engine(policies, sources),
        "policy-definitions": generate_definitions(policies),
        EXECUTOR: executor | compile_modules(executor, _intact(output / EXECUTOR, records)),
        **({REQUIREMENTS: generate_requirements(plan.groups)} if plan.groups else {}),
    }.items():
        stage(staging, output, part, tree)
    digests = {
        group.name: GroupDigests(group_digest(executor, group, policies), group_base(executor, group))
        for group in plan.groups
    }
    stage_file(staging, output, MANIFEST, build_manifest(policies, digests))
    return _Work(output, staging, plan, options.say, options.import_seconds, digests, records)


def _intact(part: Path, records: Records) -> Tree:
    """What is in a part of an output; nothing where that is not known to be as a build left it."""
    return read_tree(part, lambda _: False) if records.differences(part) == [] else {}


def _make_environments(work: _Work, mistakes: Mistakes) -> list[Group]:
    """Answers the groups whose environment is there."""
    ready = []
    for group in work.plan.groups:
        with mistakes.gather():
            if not environment.is_current(work.output, group, work.records, work.say):
                with step(work.say, f"installing what the group {group.name} needs"):
                    made = environment.make_environment(work.staging, group)
                work.made[environment.environment_part(group.name)] = made
            ready.append(group)
    return ready


def _check_imports(work: _Work, ready: list[Group]) -> None:
    """Of groups with something new: their environment, or anything else that their executors run. Policies that an
    earlier build has imported as they are, with what they are, are not imported again.
    """
    checked, mistakes = group_digests(work.output), Mistakes()
    parts = {group.name: work.newest(environment.environment_part(group.name)) for group in ready}
    new = [
        group
        for group in ready
        if checked.get(group.name) != work.digests[group.name].whole or parts[group.name].is_relative_to(work.staging)
    ]
    executor = work.newest(EXECUTOR)
    checks = [
        ImportCheck(parts[group.name] / "bin" / "python", executor, policies, work.import_seconds)
        for group in new
        if (policies := _unchecked(work, group, parts[group.name].is_relative_to(work.staging)))
    ]
    if not checks:
        return

    def under_way() -> str:
        return f"importing {', '.join(check.under_way for check in checks if check.under_way)}"

    with step(work.say, "importing the Python policies", under_way), ThreadPoolExecutor(IMPORTS_AT_ONCE) as pool:
        try:
            for attempt in [pool.submit(check.run) for check in checks]:
                with mistakes.gather():
                    attempt.result()
        except BaseException:  # the build is interrupted, and would wait for the checks
            for check in checks:
                check.stop()
            raise
    refuse_if_any(mistakes.found)
    _record_seconds(work, {key: seconds for check in checks for key, seconds in check.seconds.items()})


def _unchecked(work: _Work, group: Group, has_new_environment: bool) -> tuple[Policy, ...]:
    before = {} if has_new_environment else checked_imports(work.output, group.name, work.digests[group.name].base)
    return tuple(policy for policy in group.policies if before.get(policy.key) != policy.source_digest)


def _record_seconds(work: _Work, seconds: Mapping[str, float]) -> None:
    """Of imports; says which ones the edits of others wait for."""
    record_imports(work.output, seconds, {policy.key for policy in work.plan.policies})
    for group in work.plan.groups:
        for policy in group.policies:
            if len(group.policies) > 1 and seconds.get(policy.key, 0.0) >= FIRST_SECONDS:
                work.say(
                    Note(
                        f"{policy.key} takes {seconds[policy.key]:.1f} s to import, and a reload of the group "
                        f"{group.name} waits for it: `group: {policy.name}` beside it in build.yaml gives it executors "
                        "of its own"
                    )
                )


def _make_engine(work: _Work, module: bool) -> bool:
    part = EnginePart(work.staging, work.output, work.records, work.say)
    return make_engine(part, work.plan.policies, work.plan.sources, user_cache(), module=module)


def _stage_sbom(work: _Work) -> None:
    record, module = (read_record(work.newest(BIN), form) for form in FORMS)
    assert record is not None, "an engine was made or was there"
    packages = {
        group.name: installed_packages(work.newest(environment.environment_part(group.name)), group.pin.text)
        for group in work.plan.groups
    }
    materials, before = Materials(work.plan.policies, packages, record, module), work.output / SBOM
    is_intact = work.records.differences(before) == []
    if not (is_intact and is_of(before.read_bytes(), materials)):
        stage_file(work.staging, work.output, SBOM, generate_sbom(materials))


def _read_what_was_made(work: _Work) -> None:
    """An environment was read when it was installed: policies have been imported in it since."""
    for part in (BIN, SBOM, EXECUTOR):
        if (work.staging / part).exists():
            work.made[part] = contents_of(work.staging / part)
    if EXECUTOR not in work.made and work.records.read(work.output / EXECUTOR) is None:
        work.made[EXECUTOR] = contents_of(work.output / EXECUTOR)  # not on record yet: it equals what would be staged


def _result(work: _Work, changed: tuple[str, ...], seconds: dict[str, float], is_stock: bool) -> BuildResult:
    output, executor = work.output, work.output / EXECUTOR
    return BuildResult(
        output=output,
        manifest=output / MANIFEST,
        engine=output / BIN / ENGINE,
        definitions=output / "policy-definitions",
        executor=executor / MAIN_FILE if of_runtime(work.plan.policies, Runtime.PYTHON) else None,
        groups={
            group.name: GroupResult(
                environment.environment_python(output, group.name), executor / registry_file(group.name)
            )
            for group in work.plan.groups
        },
        changed=changed,
        seconds=seconds,
        policies=tuple(map(_built, work.plan.policies)),
        is_stock=is_stock,
    )


def _built(policy: Policy) -> BuiltPolicy:
    return BuiltPolicy(
        policy.name, policy.version, policy.runtime, policy.group if policy.runtime is Runtime.PYTHON else ""
    )
