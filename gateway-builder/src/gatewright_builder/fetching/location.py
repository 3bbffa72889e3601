"""From the entries of build.yaml to folders with sources: local ones as they are, others from cache or registry."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from gatewright_documents.mistake import Mistake

from gatewright_builder.events import Say, say_nothing
from gatewright_builder.fetching.cache import user_cache
from gatewright_builder.fetching.go_module import find_go_module
from gatewright_builder.fetching.licence import licence_of_folder
from gatewright_builder.fetching.pip_package import find_pip_package
from gatewright_builder.fetching.python_module import find_python_module
from gatewright_builder.fetching.source_request import USUAL, FetchLimits, SourceRequest
from gatewright_builder.manifest import Entry, Manifest
from gatewright_builder.mistake import Mistakes
from gatewright_builder.origin import NAMED, Kind, Origin, Pin
from gatewright_builder.sources import Sources, find_sources


@dataclass(frozen=True, slots=True)
class Located:
    """Where each policy's sources are, in the order of build.yaml, and what is wrong with the others."""

    manifest: Manifest
    origins: tuple[tuple[Entry, Origin], ...]
    mistakes: tuple[Mistake, ...]

    @property
    def pins(self) -> dict[str, Pin]:
        """What build.lock is to keep."""
        return {entry.key: origin.pin for entry, origin in self.origins if origin.pin}


def locate(
    manifest: Manifest,
    pins: Mapping[str, Pin] | None = None,
    say: Say = say_nothing,
    product: Sources | None = None,
    limits: FetchLimits = USUAL,
) -> Located:
    """Finds every policy's sources. With a pin, none but the very same.

    product: where the policies that ship are, by default in the checkout or the wheel around this package.
    """
    product = product or find_sources()
    origins: list[tuple[Entry, Origin]] = []
    mistakes, cache = Mistakes(list(manifest.mistakes)), user_cache()
    for entry in manifest.entries:
        with mistakes.gather():
            request = SourceRequest(manifest, entry, (pins or {}).get(entry.key), cache, say, product, limits)
            origins.append((entry, FINDERS[entry.kind](request)))
    return Located(manifest, tuple(origins), tuple(mistakes.found))


def find_folder(request: SourceRequest) -> Origin:
    """A local folder, as it stands."""
    folder = (request.manifest.folder / request.entry.source).resolve()
    source = request.entry.source
    if not folder.is_dir():
        raise request.error(f"a policy's folder, {source}", "no such folder", "correct filePath")
    return Origin(Kind.FILE_PATH, source, source, folder, request.manifest.shown(folder), licence_of_folder(folder))


def find_shipped(request: SourceRequest) -> Origin:
    """A policy that comes with the product: the folder in its sources, wherever those are."""
    name = request.entry.source
    shipped = {folder.name: folder for folder in request.product.shipped_policies}
    if folder := shipped.get(name):
        return Origin(Kind.SHIPPED, name, f"{Kind.SHIPPED} {name}", folder, name, licence_of_folder(folder))
    expected = f"one of {', '.join(NAMED)} for {name}, which does not ship with this installation"
    raise request.error(expected, "none of them", "; ".join(["name its sources once", *_needing_none(name, shipped)]))


def _needing_none(name: str, shipped: Collection[str]) -> list[str]:
    """The policy that was meant, or else all of those that ship."""
    if meant := get_close_matches(name, shipped, n=1, cutoff=0.75):
        return [f"or was {meant[0]} meant, which ships?"]
    return [f"of those that ship, {', '.join(sorted(shipped))}, the name is enough"] if shipped else []


FINDERS: dict[Kind, Callable[[SourceRequest], Origin]] = {
    Kind.FILE_PATH: find_folder,
    Kind.GO_MODULE: find_go_module,
    Kind.PYTHON_MODULE: find_python_module,
    Kind.PIP_PACKAGE: find_pip_package,
    Kind.SHIPPED: find_shipped,
}
