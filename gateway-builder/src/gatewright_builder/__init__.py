"""From build.yaml and policy folders to a policy engine and an executor.

manifest → fetching → discovery → validation → resolution → generation → environment → engine → output: each step takes
the last one's value and returns a new one; `build` strings them together. Nothing is written before all of the input
is known to be right, and the output folder changes only when everything that goes into it is ready.
"""

from gatewright_documents.mistake import Mistake

from gatewright_builder.build import BuildOptions, BuildResult, BuiltPolicy, build
from gatewright_builder.events import Download, Event, Note, Step, Waiting
from gatewright_builder.mistake import BuildError

__all__ = [
    "BuildError",
    "BuildOptions",
    "BuildResult",
    "BuiltPolicy",
    "Download",
    "Event",
    "Mistake",
    "Note",
    "Step",
    "Waiting",
    "build",
]
