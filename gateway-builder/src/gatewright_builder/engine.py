"""bin/: the engine of a build. A stock one where that will do, else one compiled for it."""

from __future__ import annotations

import shutil
from pathlib import Path

from sdk.definition import Runtime

from gatewright_builder.cache import Cache
from gatewright_builder.compile import compile_engine, engine_inputs, is_made_of
from gatewright_builder.engine_record import RECORD, read_record
from gatewright_builder.events import Say, step
from gatewright_builder.generation import generate_engine
from gatewright_builder.mistake import BuildError, Mistake
from gatewright_builder.policy import Policy, of_runtime
from gatewright_builder.sources import Sources
from gatewright_builder.stock import stock_engine

BIN = "bin"
MARK = f"{BIN}/{RECORD}"


def make_engine(
    staging: Path, output: Path, policies: tuple[Policy, ...], sources: Sources, cache: Cache, say: Say
) -> bool:
    """Stages bin/, unless the output has the very same; answers whether it is a stock one. Raises BuildError.

    It is made of the Go policies alone: the engine registers the Python ones from the manifest, so these cost no Go.
    """
    stock, current = stock_engine(policies, sources, cache, say), read_record(output / BIN)
    if stock is not None:
        if read_record(stock) != current:
            shutil.copytree(stock, staging / BIN)
        return True
    go_policies = of_runtime(policies, Runtime.GO)
    if not sources.has_go:
        raise BuildError([_no_sources(go_policies)])
    tree = generate_engine(go_policies, sources)
    if not is_made_of(current, engine_inputs(tree, sources)):
        with step(say, "compiling the policy engine, for the stock one has not all Go policies of this build"):
            compile_engine(staging / BIN, tree, sources, go_policies)
    return False


def _no_sources(policies: tuple[Policy, ...]) -> Mistake:
    names = ", ".join(policy.key for policy in policies)
    cure = "build in a checkout of Gatewright, which can compile them in"
    return Mistake(policies[0].shown, "Go policies that the engine of this installation has", names, cure)
