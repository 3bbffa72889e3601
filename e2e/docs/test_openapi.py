"""OpenAPI documents through a whole gateway: docs/how-to/import-openapi.md followed, and the project's own documents.

`make openapi-test` does the same with documents that others have published.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import httpx
import pytest
import yaml

from e2e.docs.openapi_documents import apply, import_all, operations, served
from e2e.kit.gateway import Gateway
from e2e.kit.markdown import blocks, commands, page
from e2e.kit.places import ROOT
from e2e.kit.upstream import Upstream

PAGE = page("docs/how-to/import-openapi.md")
DOCUMENT, API = blocks(PAGE, "yaml")
OWN = ROOT / "cli" / "tests" / "openapi" / "testdata"


def run_command(command: str, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """A command of the page, in a folder."""
    return subprocess.run(
        [*command.split(), *more], cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )


def complete_commands(program: str) -> list[str]:
    """The page's commands that say what they work on."""
    return [command for command in commands(PAGE, program) if command != program]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the page's document."""
    (tmp_path / "shop-openapi.yaml").write_text(DOCUMENT)
    return tmp_path


def test_the_page_shows_the_imported_api(folder: Path) -> None:
    (shown,) = complete_commands("gatewright import")
    result = run_command(shown, folder)
    (notes,) = blocks(PAGE, "text")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", notes)
    assert (folder / "shop.yaml").read_text() == API
    again = run_command(shown, folder)
    refusal = "error: shop.yaml is already there: choose another file, or replace it with --force\n"
    assert (again.returncode, again.stderr) == (1, refusal)
    assert run_command(shown, folder, "--force", "--name", "other").returncode == 0
    assert "name: other" in (folder / "shop.yaml").read_text()


def test_an_api_is_exported_from_its_file_and_from_a_gateway(
    gateway: Gateway, upstream: Upstream, folder: Path
) -> None:
    (folder / "shop.yaml").write_text(API.replace("https://eu.shop.example", upstream.url))
    apply(gateway, folder / "shop.yaml")
    try:
        assert httpx.get(f"{gateway.url}/v2/invoices/7.pdf").status_code == 200
        assert [(request.method, request.target) for request in upstream.received] == [("GET", "/v2/invoices/7.pdf")]
        of_file, of_gateway = complete_commands("gatewright export")
        in_run = ["--run-dir", str(gateway.run_dir), "--server", "https://api.example.com"]
        from_file, from_gateway = run_command(of_file, folder), run_command(of_gateway, folder, *in_run)
        unknown = run_command(of_gateway + "s", folder, *in_run)
    finally:
        with gateway.controller() as client:
            client.delete("/v1/apis/shop", params={"wait": "10"})
    assert (from_gateway.returncode, from_gateway.stderr) == (0, "")
    assert from_gateway.stdout == from_file.stdout
    assert yaml.safe_load(from_file.stdout)["servers"] == [{"url": "https://api.example.com/v2"}]
    assert unknown.returncode == 3
    assert "expected the name of an API that the gateway has" in unknown.stderr
    assert "got 'shops'" in unknown.stderr


def test_json_goes_in_and_comes_out(folder: Path) -> None:
    (folder / "shop.yaml").write_text(API)
    assert run_command("gatewright export shop.yaml -o shop.json", folder).returncode == 0
    back = run_command("gatewright import shop.json --upstream http://a.example", folder)
    assert back.returncode == 0, back.stderr
    assert operations(back.stdout) == operations(API)


def test_mistakes_are_reported_with_file_and_line(folder: Path) -> None:
    (folder / "bad.yaml").write_text(DOCUMENT.replace("/status:", "/sta%2Ftus:").replace("version: v2.0", "x: y"))
    result = run_command("gatewright import bad.yaml", folder)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        "error: bad.yaml:18: paths[\"/sta%2Ftus\"]: expected no escaped slash, got 'sta%2Ftus' in '/sta%2Ftus'; "
        "change the path\n"
    )
    (folder / "no.yaml").write_text("kind: Api\nmetadata: {name: no}\nspec:\n  operations: []\n")
    result = run_command("gatewright export no.yaml", folder)
    assert result.returncode == 1
    assert "error: no.yaml:4: spec.operations: expected" in result.stderr


def test_documents_are_imported_served_and_answered(gateway: Gateway, upstream: Upstream, folder: Path) -> None:
    apis = folder / "apis"
    apis.mkdir()
    documents = [folder / "shop-openapi.yaml", OWN / "bookshop.yaml", OWN / "devices.json"]
    imports = import_all(documents, upstream.url, apis)
    apply(gateway, apis)
    try:
        assert [served(gateway, upstream, api) for api in imports.values()] == [5, 10, 5]
    finally:
        with gateway.controller() as client:
            for name in imports:
                client.delete(f"/v1/apis/{name}", params={"wait": "10"})
