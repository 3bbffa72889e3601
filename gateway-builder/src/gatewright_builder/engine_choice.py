"""bin/: the engine of a build. A stock one where that will do, else one compiled for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gatewright.definition import Runtime
from gatewright_documents.mistake import Mistake

from gatewright_builder.engine_compilation import compile_engine, engine_inputs, is_made_of
from gatewright_builder.engine_record import RECORD, EngineRecord, read_record
from gatewright_builder.events import Note, Say, step
from gatewright_builder.fetching.cache import Cache
from gatewright_builder.generation import generate_engine
from gatewright_builder.go_dependencies import raised_in
from gatewright_builder.mistake import BuildError
from gatewright_builder.policy import Policy, of_runtime
from gatewright_builder.records import Records
from gatewright_builder.sources import Sources
from gatewright_builder.stock_engine import StockEngine, find_stock_engine

BIN = "bin"
MARK = f"{BIN}/{RECORD}"


@dataclass(frozen=True, slots=True)
class EnginePart:
    """Where the engine of a build is to be: the output's bin/, or made in staging."""

    staging: Path
    output: Path
    records: Records
    say: Say

    def current(self) -> EngineRecord | None:
        """What the output's engine is made of; None where there is none, or not as this user's build put it there."""
        folder = self.output / BIN
        record = read_record(folder)
        if record is None:
            return None
        different = self.records.differences(folder)
        if different:
            self.say(Note(f"{BIN}/{different[0]} is not as it was built: {BIN} is made anew"))
        return record if different == [] else None


def make_engine(part: EnginePart, policies: tuple[Policy, ...], sources: Sources, cache: Cache) -> bool:
    """Stages bin/, unless the output has the very same; answers whether it is a stock one. Raises BuildError.

    It is made of the Go policies alone: the engine registers the Python ones from the manifest, so these cost no Go.
    """
    stock = find_stock_engine(policies, sources, cache, part.records)
    if stock is not None:
        _stage_stock_engine(part, stock)
        return True
    go_policies = of_runtime(policies, Runtime.GO)
    if not sources.has_go:
        raise BuildError([_no_sources(go_policies)])
    _compile(part, go_policies, sources)
    return False


def _stage_stock_engine(part: EnginePart, stock: StockEngine) -> None:
    current = part.current()
    if current is None or not stock.is_it(current):
        stock.write(part.staging / BIN, part.say)


def _compile(part: EnginePart, policies: tuple[Policy, ...], sources: Sources) -> None:
    tree, record = generate_engine(policies, sources), part.current()
    if record is None or not is_made_of(record, engine_inputs(tree, sources)):
        with step(part.say, "compiling the policy engine, for the stock one lacks Go policies of this build"):
            record = compile_engine(part.staging / BIN, tree, sources, policies)
    for raised in raised_in(record, policies, sources):
        part.say(Note(str(raised)))


def _no_sources(policies: tuple[Policy, ...]) -> Mistake:
    names = ", ".join(policy.key for policy in policies)
    cure = "build in a checkout of Gatewright, which can compile them in"
    return Mistake.in_file(policies[0].shown, "Go policies that the engine of this installation has", names, cure)
