"""bin/: the engine of a build. A stock one where that will do, else one compiled for it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from gatewright.definition import Runtime
from gatewright_documents.mistake import Mistake

from gatewright_builder.engine_compilation import compile_engine, engine_inputs, is_made_of
from gatewright_builder.engine_record import FORMS, MODULE, PROGRAM, RECORD, EngineRecord, Form, read_record
from gatewright_builder.events import Note, Say, step
from gatewright_builder.fetching.cache import Cache
from gatewright_builder.generation import generate_engine
from gatewright_builder.go_dependencies import raised_in
from gatewright_builder.mistake import BuildError
from gatewright_builder.policy import Policy, of_runtime
from gatewright_builder.records import Records
from gatewright_builder.sources import Sources
from gatewright_builder.stock_engine import find_stock_engine
from gatewright_builder.tree import Tree

BIN = "bin"
MARK = f"{BIN}/{RECORD}"


@dataclass(frozen=True, slots=True)
class EnginePart:
    """Where the engine of a build is to be: the output's bin/, or made in staging."""

    staging: Path
    output: Path
    records: Records
    say: Say

    def current(self) -> dict[Form, EngineRecord]:
        """What the output's engine is made of, in each form; none where it is not as this user's build put it there."""
        folder = self.output / BIN
        records = {form: record for form in FORMS if (record := read_record(folder, form))}
        if not records:
            return {}
        different = self.records.differences(folder)
        if different:
            self.say(Note(f"{BIN}/{different[0]} is not as it was built: {BIN} is made anew"))
        return records if different == [] else {}

    def stage(self, kept: Collection[Form], missing: Collection[Form], make: Callable[[Form], None]) -> None:
        """Makes bin/ of the output's files of some forms, and of others that `make` writes into it."""
        folder = self.staging / BIN
        folder.mkdir(exist_ok=True)
        for form in kept:
            for name in form.files:
                shutil.copy2(self.output / BIN / name, folder / name)
        for form in missing:
            make(form)


def make_engine(
    part: EnginePart, policies: tuple[Policy, ...], sources: Sources, cache: Cache, *, module: bool = False
) -> bool:
    """Stages bin/, unless the output has the very same; answers whether it is a stock one. Raises BuildError.

    It is made of the Go policies alone: the engine registers the Python ones from the manifest, so these cost no Go.
    module: also as a library for Envoy. A library that is not wanted stays as long as it is of the same sources.
    """
    stock = find_stock_engine(policies, sources, cache, part.records)
    go_policies = of_runtime(policies, Runtime.GO)
    if stock is None and not sources.has_go:
        raise BuildError([_no_sources(go_policies)])
    found = part.current()
    if stock is not None:
        kept = [form for form, record in found.items() if stock.is_it(record, form)]
        _stage(part, kept, module, lambda form: stock.write(part.staging / BIN, part.say, form))
        return True
    tree = generate_engine(go_policies, sources)
    inputs = engine_inputs(tree, sources)
    kept = [form for form, record in found.items() if is_made_of(record, inputs, form)]
    _stage(part, kept, module, lambda form: _compile(part, tree, go_policies, sources, form))
    record = read_record(part.staging / BIN) or found[PROGRAM]
    for raised in raised_in(record, go_policies, sources):
        part.say(Note(str(raised)))
    return False


def _stage(part: EnginePart, kept: Collection[Form], module: bool, make: Callable[[Form], None]) -> None:
    wanted = FORMS if module else (PROGRAM,)
    missing = [form for form in wanted if form not in kept]
    is_stale = any((part.output / BIN / form.file).exists() for form in FORMS if form not in kept)
    if missing or is_stale:
        part.stage(kept, missing, make)


def _compile(part: EnginePart, tree: Tree, policies: tuple[Policy, ...], sources: Sources, form: Form) -> None:
    what = "the policy engine for Envoy" if form is MODULE else "the policy engine"
    with step(part.say, f"compiling {what}, for the stock one lacks Go policies of this build"):
        compile_engine(part.staging / BIN, tree, sources, policies, form)


def _no_sources(policies: tuple[Policy, ...]) -> Mistake:
    names = ", ".join(policy.key for policy in policies)
    cure = "build in a checkout of Gatewright, which can compile them in"
    return Mistake.in_file(policies[0].shown, "Go policies that the engine of this installation has", names, cure)
