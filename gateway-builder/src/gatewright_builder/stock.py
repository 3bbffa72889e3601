"""The stock engine: the policies that ship, compiled in. It serves any Python policy, so most builds need no Go.

python -m gatewright_builder.stock FOLDER     writes it into FOLDER: how a wheel gets the one that it ships
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from sdk.definition import Runtime

from gatewright_builder.cache import Cache, user_cache
from gatewright_builder.compile import compile_engine, engine_inputs, is_made_of
from gatewright_builder.discovery import discover
from gatewright_builder.engine_record import EngineRecord, read_record
from gatewright_builder.events import Say, say_nothing, step
from gatewright_builder.generation import generate_engine
from gatewright_builder.location import locate
from gatewright_builder.manifest import Entry, Manifest
from gatewright_builder.mistake import BuildError
from gatewright_builder.origin import Kind
from gatewright_builder.policy import Policy, of_runtime
from gatewright_builder.sources import PACKAGE, Sources, find_sources
from gatewright_builder.validation import validate

SHIPPED = PACKAGE / "stock"


def stock_engine(policies: tuple[Policy, ...], sources: Sources, cache: Cache, say: Say) -> Path | None:
    """The folder of a stock engine that has all Go policies of a build; None where one must be compiled for it.

    With Go sources: what is made of them, in the wheel, in the cache, or compiled into the cache now. Without: the
    wheel's. Raises BuildError.
    """
    wanted = {policy.key: policy.source_digest for policy in of_runtime(policies, Runtime.GO)}
    if not sources.has_go:
        return SHIPPED if _has(read_record(SHIPPED), wanted) else None
    stock = stock_policies(sources)
    if not wanted.items() <= {policy.key: policy.source_digest for policy in stock}.items():
        return None
    tree = generate_engine(stock, sources)
    inputs = engine_inputs(tree, sources)
    cached = cache.engines / inputs
    for folder in (SHIPPED, cached):
        if is_made_of(read_record(folder), inputs):
            return folder
    with step(say, "compiling the stock policy engine, once for all builds on this machine (may take minutes)"):
        _compile_into(cached, cache, stock, sources)
    return cached


def _has(record: EngineRecord | None, wanted: dict[str, str]) -> bool:
    return record is not None and wanted.items() <= record.policies.items()


def _compile_into(folder: Path, cache: Cache, stock: tuple[Policy, ...], sources: Sources) -> None:
    with cache.scratch() as scratch:
        made = Path(scratch) / "engine"
        compile_engine(made, generate_engine(stock, sources), sources, stock)
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)


def stock_policies(sources: Sources) -> tuple[Policy, ...]:
    """The policies that every stock engine has."""
    entries = [Entry(path.name, Kind.FILE_PATH, str(path), 1) for path in sources.stock_policies]
    return validate(discover(locate(Manifest(sources.root / "stock", tuple(entries)))))


def main(folder: str) -> None:
    """Writes the stock engine of the sources around this package into a folder."""
    try:
        engine = stock_engine((), find_sources(), user_cache(), say_nothing)
    except BuildError as error:
        sys.exit(str(error))
    if engine is None:
        sys.exit("expected the engine's Go sources, got a wheel without them; run this in a checkout")
    shutil.copytree(engine, folder, dirs_exist_ok=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
