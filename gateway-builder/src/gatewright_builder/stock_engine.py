"""The stock engine: the policies that ship, compiled in. It serves any Python policy, so most builds need no Go.

python -m gatewright_builder.stock_engine FOLDER [CHECKOUT]     writes it into FOLDER: how a wheel gets its own, as a
                                                                program, and for Envoy where there is a C compiler
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from gatewright.definition import Runtime
from gatewright_documents.mistake import Mistake

from gatewright_builder.discovery import discover
from gatewright_builder.engine_compilation import compile_engine, engine_inputs, is_made_of
from gatewright_builder.engine_record import MODULE, PROGRAM, EngineRecord, Form, read_record
from gatewright_builder.events import Say, say_nothing, step
from gatewright_builder.fetching.c_compiler import find_c_compiler
from gatewright_builder.fetching.cache import Cache, user_cache
from gatewright_builder.fetching.location import locate
from gatewright_builder.generation import generate_engine
from gatewright_builder.go_module_copy import compiled_digest
from gatewright_builder.manifest import Entry, Manifest
from gatewright_builder.mistake import BuildError
from gatewright_builder.origin import Kind
from gatewright_builder.policy import Policy, of_runtime
from gatewright_builder.records import Records, contents_of, same_content, user_records
from gatewright_builder.sources import PACKAGE, Sources, find_sources
from gatewright_builder.validation import validate

SHIPPED = PACKAGE / "stock"


@dataclass(frozen=True, slots=True)
class StockEngine:
    """A stock engine that has all Go policies of a build.

    inputs: what it is to be made of; "" where it is the wheel's, whatever that is made of. policies: those compiled in.
    """

    inputs: str
    policies: tuple[Policy, ...]
    sources: Sources
    cache: Cache
    records: Records

    def is_it(self, record: EngineRecord, form: Form = PROGRAM) -> bool:
        """Whether an engine, by its record, is the very same."""
        return is_made_of(record, self.inputs, form) if self.inputs else record == read_record(SHIPPED, form)

    def write(self, folder: Path, say: Say, form: Form = PROGRAM) -> None:
        """Writes it into folder, which has none of this form: the wheel's, or the cache's, which is compiled where it
        is not there, or not as this user's build put it there. Raises BuildError.
        """
        if not self.inputs or is_made_of(read_record(SHIPPED, form), self.inputs, form):
            _copy_shipped(folder, form)
        elif not self._copy_cached(folder, form):
            what = f"compiling the stock policy engine{' for Envoy' if form is MODULE else ''}"
            with step(say, f"{what}, once for all builds on this machine (may take minutes)"):
                self._compile(folder, form)

    def _cached(self, form: Form) -> Path:
        return self.cache.engines / (self.inputs if form is PROGRAM else f"{self.inputs}-{form.file}")

    def _copy_cached(self, folder: Path, form: Form) -> bool:
        """Whether what was copied is what is on record."""
        cached = self._cached(form)
        known = self.records.read(cached)
        if known is None or not is_made_of(read_record(cached, form), self.inputs, form):
            return False
        with self.cache.scratch() as scratch:
            copied = Path(scratch) / "engine"
            shutil.copytree(cached, copied)
            is_known = same_content(contents_of(copied), known)
            if is_known:
                shutil.copytree(copied, folder, dirs_exist_ok=True)
        return is_known

    def _compile(self, folder: Path, form: Form) -> None:
        cached = self._cached(form)
        with self.cache.scratch() as scratch:
            made = Path(scratch) / "engine"
            compile_engine(made, generate_engine(self.policies, self.sources), self.sources, self.policies, form)
            contents = contents_of(made)
            shutil.copytree(made, folder, dirs_exist_ok=True)
            shutil.rmtree(cached, ignore_errors=True)
            made.rename(cached)
        self.records.keep(cached, contents)


def find_stock_engine(
    policies: tuple[Policy, ...], sources: Sources, cache: Cache, records: Records
) -> StockEngine | None:
    """None where an engine must be compiled for the build.

    With Go sources: what is made of them. Without: the wheel's. Raises BuildError.
    """
    wanted = {policy.key: compiled_digest(policy) for policy in of_runtime(policies, Runtime.GO)}
    if not sources.has_go:
        return StockEngine("", (), sources, cache, records) if _has(read_record(SHIPPED), wanted) else None
    stock = stock_policies(sources)
    if not wanted.items() <= {policy.key: compiled_digest(policy) for policy in stock}.items():
        return None
    return StockEngine(engine_inputs(generate_engine(stock, sources), sources), stock, sources, cache, records)


def _has(record: EngineRecord | None, wanted: dict[str, str]) -> bool:
    return record is not None and wanted.items() <= record.policies.items()


def _copy_shipped(folder: Path, form: Form) -> None:
    record = read_record(SHIPPED, form)
    if record is None:
        expected = f"the engine for Envoy, {form.file}, which this package brings where it was made with a C compiler"
        cure = "run with --engine ext-proc, or build in a checkout of Gatewright"
        raise BuildError([Mistake.in_file(str(SHIPPED), expected, "none", cure)])
    folder.mkdir(parents=True, exist_ok=True)
    for name in form.files:
        shutil.copy2(SHIPPED / name, folder / name)
    got = contents_of(folder)[form.file].digest.removesuffix("+x")
    if got != record.sha256:
        expected = f"the stock engine that this package brought, SHA-256 {record.sha256}"
        raise BuildError([Mistake.in_file(str(SHIPPED / form.file), expected, got, "install gatewright again")])


def stock_policies(sources: Sources) -> tuple[Policy, ...]:
    """The Go policies that every stock engine has: those that ship."""
    folders = [path for path in sources.shipped_policies if any(path.glob("*.go"))]  # the others need not be read
    entries = tuple(Entry(path.name, Kind.SHIPPED, path.name, 1) for path in folders)
    located = locate(Manifest(sources.root / "policies", entries), product=sources)
    discovery = discover(located)
    return validate(replace(discovery, policies=of_runtime(discovery.policies, Runtime.GO)))


def main(folder: str, checkout: str = "") -> None:
    """Writes the stock engine of a checkout into a folder; by default of the one around this package."""
    try:
        sources = find_sources(Path(checkout) if checkout else None)
        engine = find_stock_engine((), sources, user_cache(), user_records())
        if engine is None:
            sys.exit("expected the engine's Go sources, got a wheel without them; run this in a checkout")
        shutil.rmtree(folder, ignore_errors=True)
        for form in (PROGRAM, MODULE) if find_c_compiler() else (PROGRAM,):
            engine.write(Path(folder), say_nothing, form)
    except BuildError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(*sys.argv[1:])
