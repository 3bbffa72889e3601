"""What Go policies do to the versions that the engine is written for: the highest one that anybody asks for wins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gatewright_builder.engine_record import EngineRecord
from gatewright_builder.go_mod import read_go_mod, required, version_order
from gatewright_builder.policy import Policy
from gatewright_builder.sources import Sources


@dataclass(frozen=True, slots=True)
class Raised:
    """A module that the engine asks for in version `own`, and gets in another one. policies: those that ask for it."""

    module: str
    own: str
    version: str
    policies: tuple[str, ...] = ()

    def __str__(self) -> str:
        askers = ", ".join(self.policies) or "what the Go policies ask for"
        verb = "raise" if len(self.policies) > 1 else "raises"
        return f"{askers} {verb} a dependency of the engine: {self.module} from {self.own} to {self.version}"


def raised_in(record: EngineRecord, policies: tuple[Policy, ...], sources: Sources) -> Iterator[Raised]:
    """What an engine was compiled with, other than its own go.mod has it."""
    own = _own(sources)
    for module in record.modules:
        if module.path in own and module.version.startswith("v") and module.version != own[module.path]:
            yield _raised(module.path, own[module.path], module.version, policies)


def asked_above(policies: tuple[Policy, ...], sources: Sources) -> Iterator[Raised]:
    """What policies ask for themselves above the engine's own go.mod: known before anything is compiled."""
    for module, own in _own(sources).items():
        versions = [version for policy in policies if (version := _required_modules(policy).get(module))]
        highest = max(versions, key=version_order, default=own)
        if version_order(highest) > version_order(own):
            yield _raised(module, own, highest, policies)


def _raised(module: str, own: str, version: str, policies: tuple[Policy, ...]) -> Raised:
    askers = tuple(policy.key for policy in policies if _required_modules(policy).get(module) == version)
    return Raised(module, own, version, askers)


def _own(sources: Sources) -> dict[str, str]:
    return required(read_go_mod((sources.engine / "go.mod").read_bytes()))


def _required_modules(policy: Policy) -> dict[str, str]:
    return required(read_go_mod(policy.sources.get("go.mod", b"")))
