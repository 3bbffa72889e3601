"""pythonmodule: a folder of a GitHub repository, fetched as the tarball that GitHub makes of a ref."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from gatewright_builder.events import Step
from gatewright_builder.fetching.archive import Archive, ArchiveError, read_archive
from gatewright_builder.fetching.licence import licence_of_folder
from gatewright_builder.fetching.retry import PermanentError, TransientError
from gatewright_builder.fetching.source_request import SourceRequest
from gatewright_builder.origin import Kind, Origin, Pin
from gatewright_builder.tree import tree_digest

BASE_VARIABLE, BASE = "GATEWRIGHT_GITHUB_URL", "https://codeload.github.com"
TOKEN_VARIABLES = ("GATEWRIGHT_GITHUB_TOKEN", "GITHUB_TOKEN")


@dataclass(frozen=True, slots=True)
class Reference:
    """github.com/ORGANISATION/REPOSITORY/FOLDER@REF; the folder is "" for the repository itself."""

    organisation: str
    repository: str
    folder: str
    ref: str

    @property
    def url(self) -> str:
        """Of the tarball."""
        base = os.environ.get(BASE_VARIABLE) or BASE
        return f"{base.rstrip('/')}/{self.organisation}/{self.repository}/tar.gz/{quote(self.ref, safe='/')}"


def reference(source: str) -> Reference:
    """Reads what the manifest has checked."""
    path, ref = source.split("@", 1)
    _, organisation, repository, *folder = path.split("/")
    return Reference(organisation, repository, "/".join(folder), ref)


def find_python_module(request: SourceRequest) -> Origin:
    """From the cache where build.lock says what it is to be, else fetched. Raises BuildError."""
    pin = request.pin
    folder = request.cache.tree(pin.digest) if pin else None
    if folder is None or pin is None:
        folder, pin = _fetched(request)
    source = request.entry.source
    return Origin(Kind.PYTHON_MODULE, source, source, folder, source, licence_of_folder(folder), pin=pin)


def _fetched(request: SourceRequest) -> tuple[Path, Pin]:
    wanted = reference(request.entry.source)
    request.say(Step(f"fetching {request.name}"))
    try:
        found = _fetch(request, wanted)
    except TransientError as error:
        return _from_before(request, wanted, error)
    if not found.tree:
        got = f"no {wanted.folder or 'file'} in the archive of {wanted.ref}"
        raise request.error(f"{request.name}", got, "check the folder and the ref")
    pin = Pin(tree_digest(found.tree), commit=found.commit)
    request.verify(pin.digest)
    request.cache.remember(wanted.url + "#" + wanted.folder, f"{pin.digest} {pin.commit}")
    return request.cache.keep(found.tree), pin


def _fetch(request: SourceRequest, wanted: Reference) -> Archive:
    from gatewright_builder.fetching.download import (
        download,  # here, because an HTTP client takes longer than a small build
    )

    limits = request.limits
    with request.cache.scratch() as folder, (Path(folder) / "archive.tar.gz").open("w+b") as file:
        try:
            most, pauses = limits.archive.packed, limits.pauses
            download(wanted.url, file, request.name, request.say, headers=_headers(), limit=most, pauses=pauses)
            file.seek(0)
            return read_archive(file, wanted.folder or ".", limits.archive)
        except PermanentError as error:
            raise request.error(f"an archive of {request.name}", str(error), _cure(error)) from error
        except ArchiveError as error:
            cure = "the archive is not what GitHub makes of a repository: use none of it"
            raise request.error(f"in the archive of {request.name} {error.expected}", error.got, cure) from error


def _headers() -> dict[str, str]:
    token = next((value for name in TOKEN_VARIABLES if (value := os.environ.get(name))), None)
    return {"Authorization": f"Bearer {token}"} if token else {}


def _cure(error: PermanentError) -> str:
    if error.status in {401, 403, 404}:
        return f"check the repository and the ref; a private one needs a token in {TOKEN_VARIABLES[0]}"
    return f"check {BASE_VARIABLE} and the repository"


def _from_before(request: SourceRequest, wanted: Reference, error: TransientError) -> tuple[Path, Pin]:
    """Offline, what the ref led to the last time will do, where it was asked before and is what build.lock wants."""
    digest, _, commit = (request.cache.remembered(wanted.url + "#" + wanted.folder) or "").partition(" ")
    folder = request.cache.tree(digest) if digest else None
    if folder is None or (request.pin and request.pin.digest != digest):
        cure = "try again when the server can be reached; the cache does not have it"
        raise request.error(f"an archive of {request.name}", str(error), cure) from error
    request.say(Step(f"{request.name} cannot be reached: going on with what the cache has"))
    return folder, Pin(digest, commit=commit)
