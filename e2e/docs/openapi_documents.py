"""OpenAPI documents on their way: imported, published, each operation asked once, and seen at the upstream."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import yaml

from e2e.kit.gateway import Gateway, Json
from e2e.kit.places import ROOT
from e2e.kit.upstream import Recorded, Upstream

MANIFEST = ROOT / "e2e" / "docs" / "testdata" / "openapi" / "documents.toml"
PARAMETER = re.compile(r"\{[^/]*\}")
NOWHERE = "/".join(["", *"abcdefghijklmnopqrst"])
"""A path with more segments than any document has."""


@dataclass(frozen=True)
class ServedDocument:
    """An imported document: its API, and the number of its operations that were answered."""

    api: Json
    answered: int


def documents_of_modules(folder: Path) -> list[Path]:
    """The files of the manifest, out of modules that have the hashes it says. folder: to work in."""
    return [file for module in _modules() for file in _files(module, "documents", folder)]


def openapi_schema(folder: Path) -> Json:
    """The JSON Schema of OpenAPI 3.1 documents. folder: to work in."""
    (file,) = (file for module in _modules() for file in _files(module, "schemas", folder))
    schema: Json = json.loads(file.read_text())
    return schema


def _modules() -> list[Json]:
    modules: list[Json] = tomllib.loads(MANIFEST.read_text())["modules"]
    return modules


def _files(module: Json, kind: str, folder: Path) -> Iterator[Path]:
    module_version = f"{module['path']}@{module['version']}"
    command = ["go", "mod", "download", "-json", module_version]
    environment = os.environ | {"GONOSUMDB": "*", "GOFLAGS": "-mod=mod"}  # the hash below is checked
    result = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    module_info = json.loads(result.stdout or "{}")
    why = module_info.get("Error", result.stderr)
    assert result.returncode == 0, (
        f"{module_version} cannot be had from the Go module proxy, and nothing was tested: {why}"
    )
    assert module_info["Sum"] == module["sum"], f"{module_version} differs from the one in {MANIFEST.name}"
    return (Path(module_info["Dir"]) / name for name in module.get(kind, []))


def convert(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """`gatewright import …` or `gatewright export …`."""
    return subprocess.run(
        ["gatewright", *arguments], input=text, capture_output=True, text=True, check=False, timeout=120
    )


def import_all(documents: Sequence[Path], upstream: str, folder: Path) -> dict[str, Json]:
    """Writes each document's API into the folder, with a name and a context of its own; answers them by name."""
    apis: dict[str, Json] = {}
    for number, document in enumerate(documents, 1):
        name = f"document-{number}"
        file = folder / f"{name}.yaml"
        options = ["--name", name, "--context", f"/{name}", "--upstream", upstream, "-o", str(file)]
        result = convert("import", str(document), *options)
        assert result.returncode == 0, f"{document.name}: {result.stderr}"
        apis[name] = yaml.safe_load(file.read_text())
    return apis


def apply(gateway: Gateway, folder: Path) -> None:
    command = ["gatewright", "apply", "--run-dir", str(gateway.run_dir), "-f", str(folder), "--timeout", "60s"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr


def served(gateway: Gateway, upstream: Upstream, api: Json) -> int:
    """Asks each operation once; answers how many there are. All must have come to the upstream, each at its path."""
    spec = api["spec"]
    base = urlsplit(spec["upstream"]["main"]["url"]).path.rstrip("/")
    upstream.received.clear()
    requests: list[tuple[str, str]] = []
    with httpx.Client(base_url=gateway.url, timeout=30) as client:
        for operation in spec["operations"]:
            path = fill_parameters(operation["path"])
            answer = client.request(operation["method"], f"{spec['context']}{path}")
            assert answer.status_code == 200, f"{operation}: {answer.status_code} {answer.text}"
            requests.append((operation["method"], f"{base}{path}" if path != "/" or not base else base))
        if not any(operation["path"].endswith("/*") for operation in spec["operations"]):
            assert client.get(f"{spec['context']}{NOWHERE}").status_code == 404
    assert [(request.method, requested_path(request, base)) for request in upstream.received] == requests
    return len(requests)


def requested_path(request: Recorded, base: str) -> str:
    return request.target if request.target != f"{base}/" or not base else base


def fill_parameters(path: str) -> str:
    """A request's path for an operation's."""
    return re.sub(r"\*$", "below/it", PARAMETER.sub("sample-0", path))


def operations(text: str) -> list[str]:
    """The operations of an API in YAML, sorted."""
    return sorted(
        f"{operation['method']} {operation['path']}" for operation in yaml.safe_load(text)["spec"]["operations"]
    )
