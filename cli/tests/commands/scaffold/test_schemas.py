"""The schemas for editors are as strict as the readers of the files, for each field by itself."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from click.testing import CliRunner
from gatewright_builder.manifest import read_manifest
from gatewright_builder.mistake import BuildError
from gatewright_cli.commands.scaffold.schemas import SCHEMAS, write_schemas
from gatewright_cli.commands.schema_command import KINDS
from gatewright_cli.main import cli
from gatewright_controller.model import Api, Gateway, Secret
from gatewright_controller.resource.definitions import Definitions, load_definitions
from gatewright_controller.resource.editor_schemas import api_schema
from gatewright_controller.resource.exchange_filter import ExchangeFilter
from gatewright_controller.validation import validate
from gatewright_documents.document import read_file
from gatewright_documents.mistake import Invalid
from gatewright_documents.policy_definition import mistakes_in_definition
from gatewright_documents.schema_check import META_SCHEMA
from gatewright_documents.strict import mistakes_of
from gatewright_documents.yaml_reader import JSON_TYPES, YAML_1_1, read_yaml

ROOT = Path(__file__).parents[4]
CONTROLLER = ROOT / "gateway-controller" / "tests" / "testdata"


@cache
def validator(kind: str) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(SCHEMAS[kind](), offline=True)


@cache
def files() -> tuple[Path, ...]:
    done = subprocess.run(["git", "ls-files", "*.yaml"], cwd=ROOT, capture_output=True, text=True, check=True)
    return tuple(path for name in done.stdout.splitlines() if (path := ROOT / name).is_file())


@cache
def resources(kind: str) -> dict[Path, Any]:
    found = {}
    for path in files():
        try:
            value = read_yaml(path.read_bytes(), JSON_TYPES)
        except Invalid:
            continue
        if isinstance(value, dict) and value.get("kind") == kind:
            found[path] = value
    return found


def keywords(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        for key, value in schema.items():
            yield key
            yield from keywords(value)
    elif isinstance(schema, list):
        for item in schema:
            yield from keywords(item)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_a_schema_of_its_own_in_words_that_editors_know(kind: str) -> None:
    schema = SCHEMAS[kind]()
    assert list(META_SCHEMA.iter_errors(schema)) == []
    text = json.dumps(schema)
    assert text.count('"$ref": "#/$defs/') == text.count('"$ref"')
    assert [key for key in keywords(schema) if key.startswith("x-")] == []
    assert text.count('"description"') > 5
    assert tuple(SCHEMAS) == KINDS


def test_fields_have_descriptions_and_examples() -> None:
    attachment = api_schema()["$defs"]["PolicyAttachment"]["properties"]
    assert attachment["timeout"]["description"].startswith("Time one execution may take.")
    assert attachment["timeout"]["examples"] == ["200ms", "1s"]
    assert attachment["mode"]["enum"] == ["enforce", "shadow"]
    listener = SCHEMAS["gateway"]()["$defs"]["ListenerTls"]["properties"]
    assert listener["minVersion"]["description"] == "The oldest version of TLS that is spoken."
    definition = SCHEMAS["policy-definition"]()["properties"]
    assert definition["name"]["examples"] == ["add-headers"]


# ---------------------------------------------------------------- what the repository has


@pytest.mark.parametrize(("kind", "struct", "least"), [("Api", Api, 50), ("Gateway", Gateway, 20)])
def test_it_takes_the_resources_that_their_struct_takes(kind: str, struct: Any, least: int) -> None:
    found, schema = resources(kind), validator(kind.lower())
    assert len(found) >= least
    taken = {path for path, value in found.items() if not list(mistakes_of(struct, value))}
    assert {path for path, value in found.items() if schema.is_valid(value)} == taken
    assert len(taken) > least / 2


def definition_mistakes(path: Path) -> list[object]:
    return list(mistakes_in_definition(read_file(path, path.name)))


def test_it_takes_the_definitions_that_are_right() -> None:
    found = [path for path in files() if path.name == "policy-definition.yaml"]
    right = [path for path in found if readable(path) and not definition_mistakes(path)]
    assert len(right) > 70
    wrong = {path: list(validator("policy-definition").iter_errors(read(path))) for path in right}
    assert {path: errors for path, errors in wrong.items() if errors} == {}


def test_it_takes_the_lists_of_policies_that_are_right() -> None:
    right = [path for path in files() if path.name.startswith("build") and readable(path) and is_manifest(path)]
    assert len(right) > 15
    assert [path for path in right if not validator("build").is_valid(read(path))] == []


def is_manifest(path: Path) -> bool:
    try:
        return not read_manifest(path).mistakes
    except BuildError:
        return False


def readable(path: Path) -> bool:
    try:
        read(path)
    except Invalid:
        return False
    return True


def read(path: Path) -> Any:
    return read_yaml(path.read_bytes(), YAML_1_1)


# ---------------------------------------------------------------- typical mistakes

API = """
apiVersion: gatewright.dev/v1
kind: Api
metadata: {name: orders}
spec:
  version: v1.0
  context: /orders
  upstream: {main: {url: "http://orders.internal:8080"}}
  policies: [{name: add-headers, version: v1, params: {headers: []}, timeout: 200ms}]
  operations: [{method: GET, path: /}]
"""
GATEWAY = """
apiVersion: gatewright.dev/v1
kind: Gateway
spec:
  listeners: [{name: main, port: 8443, protocol: https, tls: {certificates: [own], minVersion: "1.3"}}]
"""
BUILD = "version: v1\npolicies:\n  - {name: limit, gomodule: example.com/limit@v1.0.0, replace: ../limit}\n"
DEFINITION = """
name: limit
version: v1.0.0
runtime: python
processingMode: {requestHeaderMode: PROCESS}
network: [db.internal:5432]
files: {read: [/etc/limit]}
parameters: {type: object}
"""
FILTER = 'status: ["5xx"]\npath: /orders\n'
WITH_VALUES = """
apiVersion: gatewright.dev/v1
kind: Secret
metadata: {name: partner}
spec: {values: {key: "0123456789abcdef"}}
"""
TEXTS = {
    "api": API,
    "gateway": GATEWAY,
    "build": BUILD,
    "policy-definition": DEFINITION,
    "exchange-filter": FILTER,
    "secret": WITH_VALUES,
}
MISTAKES = [
    ("api", "  context:", "  contxt:"),
    ("api", "  context: /orders\n", ""),
    ("api", "version: v1.0", "version: 1.0"),
    ("api", "name: orders", "name: Orders"),
    ("api", "timeout: 200ms", "timeout: 200"),
    ("api", "version: v1,", "version: '1',"),
    ("api", "operations: [{", "operations: {a: {"),
    ("api", "method: GET", "verb: GET"),
    ("api", "kind: Api", "kind: API"),
    ("api", "params: {headers: []}", "params: []"),
    ("gateway", "port: 8443", "port: 84430"),
    ("gateway", 'minVersion: "1.3"', "minVersion: 1.3"),
    ("gateway", "protocol: https", "protocol: ftp"),
    ("gateway", "tls:", "TLS:"),
    ("gateway", "certificates: [own]", "certificates: own"),
    ("build", "version: v1", "version: 1"),
    ("build", "name: limit", "name: Limit"),
    ("build", "name: limit, ", ""),
    ("build", "gomodule:", "goModule:"),
    ("build", "gomodule: example.com/limit@v1.0.0, ", "filePath: a, "),
    ("build", "replace: ../limit", "filePath: a"),
    ("build", "policies:", "policy:"),
    ("policy-definition", "version: v1.0.0", "version: v1"),
    ("policy-definition", "runtime: python", "runtime: java"),
    ("policy-definition", "runtime: python\n", ""),
    ("policy-definition", "runtime: python", "runtime: go"),
    ("policy-definition", "requestHeaderMode", "requestHeadersMode"),
    ("policy-definition", "PROCESS", "true"),
    ("policy-definition", "db.internal:5432", "db.internal"),
    ("policy-definition", "/etc/limit", "etc/limit"),
    ("policy-definition", "/etc/limit", "/etc/../limit"),
    ("policy-definition", "/etc/limit", "/proc/self"),
    ("policy-definition", "parameters: {type: object}", "parameters: {type: array}"),
    ("exchange-filter", "5xx", "6xx"),
    ("exchange-filter", "path: /orders", "path: orders"),
    ("exchange-filter", "path:", "paths:"),
    ("secret", "kind: Secret", "kind: Secrets"),
    ("secret", "{values: ", "{value: "),
    ("secret", '"0123456789abcdef"', "[]"),
]  # fmt: skip


def refuses(kind: str, text: str, tmp_path: Path) -> bool:
    """Whether the reader of such a file refuses it."""
    path = tmp_path / "file.yaml"
    path.write_text(text)
    structs: dict[str, Any] = {"api": Api, "gateway": Gateway, "exchange-filter": ExchangeFilter, "secret": Secret}
    readers: dict[str, Callable[[], object]] = {
        "build": lambda: not is_manifest(path),
        "policy-definition": lambda: definition_mistakes(path),
    }
    if kind in structs:
        return bool(list(mistakes_of(structs[kind], read_yaml(text.encode()))))
    return bool(readers[kind]())


@pytest.mark.parametrize("kind", TEXTS)
def test_valid_documents_pass_the_schema_and_the_reader(kind: str, tmp_path: Path) -> None:
    assert list(validator(kind).iter_errors(read_yaml(TEXTS[kind].encode()))) == []
    assert not refuses(kind, TEXTS[kind], tmp_path)


@pytest.mark.parametrize(("kind", "right", "wrong"), MISTAKES)
def test_a_typical_mistake_is_refused_by_both(kind: str, right: str, wrong: str, tmp_path: Path) -> None:
    assert right in TEXTS[kind]
    text = TEXTS[kind].replace(right, wrong, 1)
    if wrong == "operations: {a: {":
        text = text.replace("path: /}]", "path: /}}")
    assert not validator(kind).is_valid(read_yaml(text.encode(), YAML_1_1))
    assert refuses(kind, text, tmp_path)


# ---------------------------------------------------------------- the policies of a build


@cache
def definitions() -> Definitions:
    return load_definitions(CONTROLLER / "definitions", {"guard": {"issuer": "https://id.example"}})


@cache
def with_policies() -> jsonschema_rs.Draft202012Validator:
    schema = api_schema(definitions())
    assert list(META_SCHEMA.iter_errors(schema)) == []
    return jsonschema_rs.Draft202012Validator(schema, offline=True)


def taken_by_the_controller(document: Any) -> bool:
    try:
        validate(document, definitions(), {})
    except Invalid:
        return False
    return True


def test_it_takes_the_apis_that_the_controller_takes() -> None:
    right = {path: value for path, value in resources("Api").items() if taken_by_the_controller(value)}
    assert len(right) >= 20
    assert [path for path, value in right.items() if not with_policies().is_valid(value)] == []


ATTACHED = [
    ("{name: add-headers, version: v1, params: {headers: [{name: a, value: b}]}}", True),
    ("{name: add-headers, version: v1, params: {headers: [{name: a}]}}", False),
    ("{name: add-header, version: v1}", False),
    ("{name: add-headers, version: v3}", False),
    ("{name: add-headers, version: v1, params: {unknown: 1}}", False),
    ("{name: add-headers, version: v1, params: {headers: a}}", False),
    ("{name: log-message, version: v1, params: {message: 1}}", False),
    ("{name: log-message, version: v1}", True),
]


@pytest.mark.parametrize(("attachment", "right"), ATTACHED)
def test_parameters_are_those_of_the_policy(attachment: str, right: bool) -> None:
    text = API.replace("{name: add-headers, version: v1, params: {headers: []}, timeout: 200ms}", attachment)
    document = read_yaml(text.encode())
    assert with_policies().is_valid(document) == taken_by_the_controller(document) == right


@pytest.mark.parametrize("policy", [*definitions()], ids=lambda policy: f"{policy.name}:{policy.version}")
def test_an_attachment_with_nothing_is_as_right_as_the_controller_says(policy: Any) -> None:
    for version in (policy.version, policy.version.partition(".")[0]):
        text = API.replace(
            "{name: add-headers, version: v1, params: {headers: []}", f"{{name: {policy.name}, version: {version}"
        )
        document = read_yaml(text.encode())
        assert with_policies().is_valid(document) == taken_by_the_controller(document), version


NAMED_LIKE_KEYWORDS = """
name: odd
version: v1.0.0
runtime: python
processingMode: {requestHeaderMode: PROCESS}
parameters:
  $schema: https://json-schema.org/draft/2020-12/schema
  type: object
  required: [default, filled]
  properties:
    default: {$ref: "#/$defs/word"}
    required: {type: array, items: {$ref: "#/$defs/word"}, default: [a]}
    filled: {type: integer, default: 1}
  $defs: {word: {type: string, pattern: "^[a-z]+$"}}
"""


@pytest.mark.parametrize(
    ("params", "right"),
    [
        ("{default: a}", True),
        ("{default: A}", False),
        ("{default: a, required: [b]}", True),
        ("{default: a, required: [B]}", False),
        ("{default: a, more: 1}", False),
        ("{filled: 1}", False),
    ],
)
def test_parameters_may_have_the_names_of_keywords(params: str, right: bool, tmp_path: Path) -> None:
    (tmp_path / "odd.yaml").write_text(NAMED_LIKE_KEYWORDS)
    schema = api_schema(load_definitions(tmp_path))
    assert list(META_SCHEMA.iter_errors(schema)) == []
    attached = f"{{name: odd, version: v1, params: {params}, timeout: 200ms}}"
    document = read_yaml(
        API.replace("{name: add-headers, version: v1, params: {headers: []}, timeout: 200ms}", attached).encode()
    )
    assert jsonschema_rs.Draft202012Validator(schema, offline=True).is_valid(document) == right


# ---------------------------------------------------------------- the command


def run(*arguments: str) -> Any:
    return CliRunner().invoke(cli, ["schema", *arguments])


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_printed(kind: str) -> None:
    assert json.loads(run(kind).stdout) == json.loads(json.dumps(SCHEMAS[kind]()))


def test_those_of_a_build_are_printed_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "build" / "stock" / "policy-definitions"
    folder.mkdir(parents=True)
    (folder / "limit.yaml").write_text(DEFINITION.replace("{type: object}", "{properties: {most: {type: integer}}}"))
    names = json.loads(run("api", "--build", "build/stock").stdout)["$defs"]["PolicyAttachment"]["properties"]["name"]
    assert names["enum"] == ["limit"]
    written = run("--write").stdout.splitlines()
    assert written == [f".gatewright/schemas/{kind}.json" for kind in KINDS]
    assert "params-limit-v1.0.0" in Path(written[0]).read_text()
    assert write_schemas(tmp_path, anew=False) == []
    assert "params-limit-v1.0.0" in Path(written[0]).read_text()


def test_the_runs_own_folder_stays_its_users_alone(tmp_path: Path) -> None:
    write_schemas(tmp_path / "project")
    assert (tmp_path / "project" / ".gatewright").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "expected one of api, build, consumer, defaults, exchange-filter, gateway"),
        (("api", "--write"), "got both"),
        (("apis",), "'apis' is not one of"),
        (("api", "--build", "none"), "expected a folder of policy definitions; `gatewright build` writes one"),
    ],
)
def test_invalid_arguments_are_reported(arguments: tuple[str, ...], says: str) -> None:
    done = run(*arguments)
    assert done.exit_code != 0
    assert says in done.output + str(done.exception)
