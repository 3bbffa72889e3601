"""API definitions on disk, as far as deploying and trying them needs to know. The controller validates them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

SUFFIXES = (".yaml", ".yml", ".json")
TRIED = ("GET", "HEAD")
PARAMETER = re.compile(r"\{[^}/]+\}|\*+")


class ApiFileError(Exception):
    """Files that hold no API; `mistakes` has one sentence for each."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes


@dataclass(frozen=True)
class ApiFile:
    """One API as it is on disk. `trial`: (method, path) of a request that changes nothing upstream, if it has one."""

    path: Path
    name: str
    content: bytes
    trial: tuple[str, str] | None


def with_upstream(api: ApiFile, old: str, new: str) -> ApiFile:
    """The API with the upstream address `old` ("http://127.0.0.1:9091") replaced by `new` wherever it stands."""
    return replace(api, content=api.content.replace(old.encode(), new.encode()))


def load(place: Path) -> list[ApiFile]:
    """The API in a file, or those in a folder's .yaml, .yml and .json files. Raises ApiFileError with all mistakes."""
    files = sorted(file for file in place.iterdir() if file.suffix in SUFFIXES) if place.is_dir() else [place]
    mistakes, apis = [] if files else [f"{place}: expected at least one .yaml or .json file, got none"], []
    for file in files:
        try:
            apis.append(_read(file))
        except (OSError, ValueError, yaml.YAMLError) as error:
            said = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
            mistakes.append(f"{file}: {said}")
    if mistakes:
        raise ApiFileError(mistakes)
    return apis


def _read(file: Path) -> ApiFile:
    content = file.read_bytes()
    document = yaml.safe_load(content)
    if not isinstance(document, dict) or document.get("kind") != "Api":
        raise ValueError("expected one document with `kind: Api`")
    name = _within(document, "metadata").get("name")
    if not isinstance(name, str):
        raise ValueError(f"expected a string at metadata.name, got {name!r}")
    return ApiFile(file, name, content, _trial(_within(document, "spec")))


def _within(document: dict[object, object], key: str) -> dict[object, object]:
    value = document.get(key)
    if not isinstance(value, dict):
        raise ValueError(f"expected an object at {key}, got {value!r}")
    return value


def _trial(spec: dict[object, object]) -> tuple[str, str] | None:
    """The first operation that only reads, one without path parameters before one with."""
    context = str(spec.get("context", "")).replace("$version", str(spec.get("version", ""))).rstrip("/")
    operations = spec.get("operations")
    listed = [o for o in operations if isinstance(o, dict)] if isinstance(operations, list) else []
    reading = [(str(o["method"]), context + str(o.get("path", "/"))) for o in listed if o.get("method") in TRIED]
    reading.sort(key=lambda operation: "{" in operation[1])
    return (reading[0][0], PARAMETER.sub("try", reading[0][1]) or "/") if reading else None
