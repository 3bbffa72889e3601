"""The files that a controller takes its APIs from."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, UnsetType

from gatewright_controller.management.shapes.answer import Answered


class ApiDocument(Answered, frozen=True, kw_only=True):
    """A document of a file."""

    file: str
    """Its name in the folder, with the document's line where the file has several: `b.yaml:12`."""
    kind: Literal["Api", "Defaults", "Namespace"]
    """Of what it says; `Api` where it cannot be read."""
    api: str
    """The name of the API, or of what else it is by its kind; empty where it cannot be read."""
    state: Literal["served", "kept", "notServed"]
    """`kept`: the document is wrong, or another has what it claims, and its API is served as it was before."""
    reason: str
    """Why it is not served as it is."""
    winner: str | UnsetType = UNSET
    """The API, or the document, that has what this one claims."""


class ApiFolder(Answered, frozen=True, kw_only=True):
    """folder: empty where the controller takes APIs by its management API alone. trouble: why files are not followed,
    or nothing is deleted; empty where all is well."""

    folder: str
    trouble: str
    files: list[ApiDocument]
