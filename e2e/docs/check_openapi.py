"""OpenAPI documents that others have written, all served by one gateway: `make openapi-test`.

Not named test_*.py: it needs the Go module proxy, and a minute.
"""

from __future__ import annotations

from pathlib import Path

import jsonschema_rs
import yaml

from e2e.docs.openapi_documents import (
    apply,
    convert,
    documents_of_modules,
    import_all,
    openapi_schema,
    operations,
    served,
)
from e2e.kit.gateway import Gateway
from e2e.kit.upstream import Upstream


def test_every_document_is_imported_served_and_answered(
    shared_gateway: Gateway, recording_upstream: Upstream, tmp_path: Path
) -> None:
    folder = tmp_path / "apis"
    folder.mkdir()
    documents = documents_of_modules(tmp_path)
    assert len(documents) >= 30
    apis = import_all(documents, recording_upstream.url, folder)
    apply(shared_gateway, folder)
    for document, api in zip(documents, apis.values(), strict=True):
        answered = served(shared_gateway, recording_upstream, api)
        assert answered == len(api["spec"]["operations"]) > 0
        print(f"{answered:5} operations of {document.name} ({document.stat().st_size:,} bytes)")


def test_every_document_survives_import_and_export(tmp_path: Path) -> None:
    folder = tmp_path / "apis"
    folder.mkdir()
    apis = import_all(documents_of_modules(tmp_path), "http://a.example", folder)
    schema = jsonschema_rs.Draft202012Validator(openapi_schema(tmp_path))
    assert list(schema.iter_errors({"openapi": "3.1.1"}))
    for name, api in apis.items():
        exported = convert("export", str(folder / f"{name}.yaml"))
        assert exported.returncode == 0, exported.stderr
        assert [str(error) for error in schema.iter_errors(yaml.safe_load(exported.stdout))] == []
        back = convert("import", "-", "--name", name, "--upstream", "http://a.example", text=exported.stdout)
        assert back.returncode == 0, back.stderr
        assert operations(back.stdout) == operations(yaml.safe_dump(api))
