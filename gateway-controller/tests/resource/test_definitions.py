from __future__ import annotations

from pathlib import Path

import pytest
from gatewright.definition import definition_digest
from gatewright_controller.resource.definitions import Definitions, UnknownPolicyError, definitions_of, load_definitions
from gatewright_documents.mistake import Invalid

PLAIN = b"name: plain\nversion: v1.0.0\nruntime: go\nprocessingMode: {requestHeaderMode: PROCESS}\n"


def test_versions_are_ordered_as_numbers(definitions: Definitions) -> None:
    assert definitions.resolve("add-headers", "v1").version == "v1.10.0"
    assert definitions.resolve("add-headers", "v1.2.0").version == "v1.2.0"
    versions = [definition.version for definition in definitions if definition.name == "add-headers"]
    assert versions == ["v1.0.0", "v1.2.0", "v1.10.0", "v2.0.0"]


def test_the_digest_is_that_of_the_file_as_it_was_written() -> None:
    (definition,) = definitions_of({"plain.yaml": PLAIN})
    assert definition.digest == definition_digest(
        {"name": "plain", "version": "v1.0.0", "runtime": "go", "processingMode": {"requestHeaderMode": "PROCESS"}}
    )


def test_the_definitions_of_all_policies_that_ship_are_taken(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    files = [*root.glob("policies/*/policy-definition.yaml"), *root.glob("gateway-controller/default-policies/*.yaml")]
    for number, file in enumerate(files):
        (tmp_path / f"{number}.yaml").write_bytes(file.read_bytes())
    names = {definition.name for definition in load_definitions(tmp_path)}
    assert names == {file.parent.name for file in files if file.stem == "policy-definition"} | {"add-python-header"}


def test_an_unknown_policy_names_the_known(definitions: Definitions) -> None:
    with pytest.raises(UnknownPolicyError, match="known are add-headers, count"):
        definitions.resolve("nope", "v1")
    with pytest.raises(UnknownPolicyError, match=r"in this build, v1\.0\.0, got 'v2'"):
        definitions.resolve("count", "v2")


def test_system_parameters_are_the_operators(definitions: Definitions) -> None:
    assert definitions.resolve("guard", "v1").system_parameters == {"issuer": "https://id.example"}


def test_all_mistakes_of_all_files_are_reported(tmp_path: Path) -> None:
    files = {
        "a.yaml": PLAIN,
        "b.yaml": PLAIN,
        "c.yaml": b"name: c\nversion: 1\n",
        "d.yaml": b"[",
        "e.yaml": PLAIN.replace(b"plain", b"e") + b"parameters: {type: strin}\n",
        "f.yaml": PLAIN.replace(b"plain", b"f") + b"allowContinue: maybe\n",
        "g.yaml": b"- a",
    }
    for name, text in files.items():
        (tmp_path / name).write_bytes(text)
    with pytest.raises(Invalid) as caught:
        load_definitions(tmp_path, {"nope": {}, "plain": {"a": 1}})
    messages = "\n".join(map(str, caught.value.mistakes))
    for part in (
        "systemParameters.nope: expected a policy of this build",
        "systemParameters.plain.a: expected no key",
        "c.yaml:2: version: expected a version vX.Y.Z, got 1; write one like v1.0.0",
        "c.yaml:1: runtime: expected python or go, got nothing",
        "d.yaml:1: expected a YAML document",
        "e.yaml:5: parameters.type: expected object, got type: strin; write type: object",
        "f.yaml:5: allowContinue: expected true or false, got 'maybe'",
        "g.yaml:1: expected a mapping",
    ):
        assert part in messages


def test_a_system_parameter_that_is_missing_is_the_only_mistake(tmp_path: Path) -> None:
    schema = b"systemParameters: {type: object, required: [key], properties: {key: {type: string}}}\n"
    (tmp_path / "plain.yaml").write_bytes(PLAIN + schema)
    for params, sentence in (({}, "expected a string, got nothing"), ({"key": 3}, "expected a string, got '********'")):
        with pytest.raises(Invalid) as caught:
            load_definitions(tmp_path, {"plain": params})
        cure = "set it in GATEWRIGHT_CONTROLLER_SYSTEM_PARAMETERS or the controller's settings file"
        assert str(caught.value).startswith(f"systemParameters.plain.key: {sentence}; {cure}")


WITH_SECRETS = b"""systemParameters:
  type: object
  required: [address]
  additionalProperties: false
  properties:
    key: {type: string, minLength: 40}
    keys: {type: object, additionalProperties: {type: integer}}
    mode: {enum: [fast]}
    list: {type: array, items: {type: string, pattern: "^x$"}}
    either: {anyOf: [{type: string, const: a}, {type: integer}]}
    address: {type: string, x-expected: an address}
"""


def test_no_message_shows_what_a_system_parameter_holds(tmp_path: Path) -> None:
    (tmp_path / "plain.yaml").write_bytes(PLAIN + WITH_SECRETS)
    secret = "s3cret"  # noqa: S105
    params = {
        "key": secret, "keys": {secret: secret}, "mode": secret, "list": [secret], "either": secret, "address": 7654321,
        "kye": secret,
    }  # fmt: skip
    with pytest.raises(Invalid) as caught:
        load_definitions(tmp_path, {"plain": params})
    message = str(caught.value)
    assert secret not in message
    assert "7654321" not in message
    for field in ("key", "keys", "mode", "list[0]", "either", "address"):
        assert f"systemParameters.plain.{field}: expected " in message
    assert "systemParameters.plain.kye: expected one of address, either" in message


@pytest.mark.parametrize("value", ["2026-01-01", "!!bool maybe", "9" * 5000, ".nan", "&a [*a]", "{1: 2}", "!!set {a}"])
def test_a_definition_that_json_cannot_say_is_named(tmp_path: Path, value: str) -> None:
    (tmp_path / "plain.yaml").write_bytes(PLAIN + f"parameters: {{default: {value}}}\n".encode())
    with pytest.raises(Invalid, match=r"plain\.yaml:5: expected ") as caught:
        load_definitions(tmp_path)
    assert len(caught.value.mistakes) == 1


def test_a_policy_is_defined_once(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_bytes(PLAIN)
    with pytest.raises(Invalid, match=r"b\.yaml: defines plain:v1\.0\.0 a second time"):
        load_definitions(tmp_path)


def test_a_missing_folder_is_named_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="gatewright build"):
        load_definitions(tmp_path / "none")


def test_secrets_are_marked_for_nodes(tmp_path: Path) -> None:
    schema = (
        b"{type: object, properties: {key: {type: string, format: secret}, other: {type: string, format: secret}}}\n"
    )
    (tmp_path / "plain.yaml").write_bytes(PLAIN + b"systemParameters: " + schema + b"parameters: " + schema)
    params = {"key": {"secretRef": "upstream-key"}, "other": "text"}
    found = load_definitions(tmp_path, {"plain": params}).resolve("plain", "v1")
    marked = {"key": {"secretRef": "upstream-key"}, "other": {"secretRef": "", "value": "text"}}
    assert found.system_parameters == marked
    assert found.parameters.for_nodes(params) == marked
    (tmp_path / "plain.yaml").write_bytes(PLAIN + b"systemParameters: {type: object}\n")
    with pytest.raises(Invalid, match="expected no reference to a secret"):
        load_definitions(tmp_path, {"plain": {"deep": [{"secretRef": "upstream-key"}]}})
