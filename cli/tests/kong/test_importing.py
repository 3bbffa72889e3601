"""decK files as APIs: golden pairs, each field in the report, and any document at all."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from gatewright_cli.kong import import_kong, is_deck_file, report_document, report_text
from gatewright_controller.model import Consumer, ConsumerPlan
from gatewright_controller.validation import validate
from gatewright_documents.mistake import Invalid
from gatewright_documents.strict import mistakes_of
from gatewright_documents.values import JsonObject, JsonValue
from gatewright_documents.yaml_reader import parse_yaml
from gatewright_documents.yaml_writer import yaml_text
from hypothesis import given

from cli.tests.kong.kong_documents import ENVIRONMENT, TESTDATA, apis_of, import_document, outcomes, shipped
from cli.tests.kong.kong_strategies import ANY, DOCUMENTS

FILES = ["routes.yaml", "upstreams.yaml", "consumers.yaml"]
BAD = sorted(TESTDATA.glob("*.bad.yaml"))
HASH = re.compile(r"\$2b\$10\$[./A-Za-z0-9]{53}")


@pytest.mark.parametrize("name", FILES)
def test_a_file_becomes_these_apis(name: str, request: pytest.FixtureRequest) -> None:
    file = TESTDATA / name
    imported = import_kong(file.read_bytes(), name, shipped(), ENVIRONMENT)
    texts = "---\n".join(imported.apis.values())
    report = report_text(imported.entries, imported.results, name)
    secrets = "".join(f"{key}: {HASH.sub('HASH', value)}" for key, value in imported.secrets.items())
    consumers = "---\n".join(map(yaml_text, [*imported.plans, *imported.consumers]))
    consumers += "".join(f"{json.dumps(key)}\n" for key in imported.keys)
    goldens = {".apis.txt": texts, ".report.txt": report, ".secrets.txt": secrets, ".consumers.txt": consumers}
    for suffix, text in goldens.items():
        golden = file.with_suffix(suffix)
        if request.config.getoption("--update"):
            golden.write_text(text)
        assert text == golden.read_text()


@pytest.mark.parametrize("name", FILES)
def test_each_value_of_a_file_is_in_the_report(name: str) -> None:
    body = (TESTDATA / name).read_bytes()
    imported = import_kong(body, name, shipped(), ENVIRONMENT)
    reported = {entry.field for entry in imported.entries}
    text = body.decode().replace('${{ env "DECK_BOB_KEY" }}', "x")
    missing = [leaf for leaf in leaves(parse_yaml(text.encode()), "") if not is_reported(leaf, reported)]
    assert missing == []
    assert len(reported) > 20


def leaves(value: JsonValue, path: str) -> list[str]:
    """The paths of the values that hold no others."""
    if isinstance(value, dict) and value:
        return [leaf for key, item in value.items() for leaf in leaves(item, field(path, key))]
    if isinstance(value, list) and value:
        return [leaf for index, item in enumerate(value) for leaf in leaves(item, f"{path}[{index}]")]
    return [path]


def field(path: str, key: str) -> str:
    plain = re.fullmatch("[A-Za-z_$][A-Za-z0-9_$-]*", key)
    return (f"{path}.{key}" if path else key) if plain else f'{path}["{key}"]'


def is_reported(leaf: str, reported: set[str]) -> bool:
    """Whether the value, or something that it is in, has an entry."""
    return any(leaf == name or leaf.startswith((f"{name}.", f"{name}[")) for name in reported)


def test_no_secret_is_in_an_api_or_a_report() -> None:
    body = (TESTDATA / "consumers.yaml").read_bytes()
    imported = import_kong(body, "consumers.yaml", shipped(), ENVIRONMENT)
    named = imported.results, "consumers.yaml"
    shown = "".join(imported.apis.values()) + json.dumps(report_document(imported.entries, *named))
    shown += report_text(imported.entries, *named) + json.dumps([*imported.plans, *imported.consumers])
    known = ["ada-7f3e0a5c9d1b4e6f8a2c", "correct-horse-battery", "shared-secret-of-eve", *ENVIRONMENT.values()]
    assert [secret for secret in known if secret in shown + "".join(imported.secrets.values())] == []
    assert sorted(imported.secrets) == ["kong-password-1"]


def test_an_unknown_field_is_left_out_and_said() -> None:
    service = {"name": "s", "url": "http://a.example", "shape": {"deep": [1]}, "routes": []}
    imported = import_document({"services": [service], "moons": [{"name": "io"}]})
    left_out = outcomes(imported, "left out")
    assert "services[0].shape.deep[0]" in left_out
    assert "moons[0].name" in left_out


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.name)
def test_every_mistake_has_its_line(path: Path) -> None:
    """The sentences stand in the file, or beside one whose placeholders are read in comments too."""
    beside = path.with_suffix(".txt")
    lines = (beside if beside.exists() else path).read_text().splitlines()
    expected = [line.removeprefix("# expect: ") for line in lines if beside.exists() or line.startswith("# expect: ")]
    with pytest.raises(Invalid) as caught:
        import_kong(path.read_bytes(), path.name, shipped(), {})
    found = sorted(caught.value.mistakes, key=lambda mistake: mistake.line)
    assert [str(mistake).removeprefix(f"{path.name}:") for mistake in found] == expected


def test_placeholders_have_the_environments_values() -> None:
    text = """
_format_version: "3.0"
services:
- name: s
  host: ${{ env "DECK_HOST" }}
  port: ${{ env "DECK_PORT" | toInt }}
  routes: [{name: r, paths: [/a], strip_path: ${{ env "DECK_STRIP" | toBool }}}]
"""
    environment = {"DECK_HOST": "a.example", "DECK_PORT": "8080", "DECK_STRIP": "false"}
    (api,) = apis_of(import_kong(text.encode(), "kong.yaml", shipped(), environment))
    assert api["spec"]["upstream"]["main"]["url"] == "http://a.example:8080"
    assert api["spec"]["operations"][0]["rewrite"] == {"prefix": "/a"}


def test_decks_first_key_marks_its_files() -> None:
    assert is_deck_file(b'_format_version: "3.0"\nservices: []\n')
    assert is_deck_file(b'{"services": [], "_format_version": "3.0"}')
    assert is_deck_file(b'_format_version: "3.0"\nservices: [{port: ${{ env "DECK_PORT" | toInt }}}]\n')
    assert not is_deck_file(b"openapi: 3.1.0\ninfo: {title: '_format_version: 3'}\n")
    assert not is_deck_file(b"openapi: 3.1.0\nx-kong:\n  _format_version: '3.0'\n")
    assert not is_deck_file(b"kind: Api\n")


@given(DOCUMENTS)
def test_any_document_is_imported_whole_or_the_report_says_what_is_not(document: JsonObject) -> None:
    """Each API is valid, each value of the document has an entry, and a route that serves nothing is left out."""
    try:
        imported = import_document(document)
    except Invalid:
        return
    for api in apis_of(imported):
        validate(api, shipped(), {})
    assert [mistake for plan in imported.plans for mistake in mistakes_of(ConsumerPlan, plan)] == []
    assert [mistake for consumer in imported.consumers for mistake in mistakes_of(Consumer, consumer)] == []
    reported = {entry.field for entry in imported.entries}
    assert [leaf for leaf in leaves(document, "") if not is_reported(leaf, reported)] == []
    contexts = [(api["spec"]["context"], host) for api in apis_of(imported) for host in api["spec"].get("hosts", ["*"])]
    assert len(contexts) == len(set(contexts))
    assert [name for name, text in imported.secrets.items() if not text] == []


@given(ANY)
def test_any_values_are_imported_or_refused(document: JsonObject) -> None:
    try:
        imported = import_document(document)
    except Invalid:
        return
    for api in apis_of(imported):
        validate(api, shipped(), {})


def test_the_files_are_those_that_lie_there() -> None:
    assert sorted({path.name for path in TESTDATA.glob("*.yaml")} - {path.name for path in BAD}) == sorted(FILES)
