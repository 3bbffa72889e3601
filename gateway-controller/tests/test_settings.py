from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import yaml
from gatewright_controller.settings import Settings, load_settings, reference
from gatewright_documents.mistake import Invalid


def test_options_go_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("{listen: 'a:1', nodeListen: 'a:1', database: 'sqlite:a', systemParameters: {guard: {issuer: x}}}")
    environment = {
        "GATEWRIGHT_CONTROLLER_NODE_LISTEN": "b:2",
        "GATEWRIGHT_CONTROLLER_DATABASE": "sqlite:b",
        "GATEWRIGHT_CONTROLLER_MAX_REQUEST_BYTES": "2048",
        "GATEWRIGHT_CONTROLLER_TOKEN": "12345",
        "GATEWRIGHT_CONTROLLER_PORT": "tcp://10.0.0.1:80",
    }
    settings = load_settings(file, environment, {"database": "sqlite:c"})
    assert (settings.listen, settings.node_listen, settings.database) == ("a:1", "b:2", "sqlite:c")
    assert (settings.max_request_bytes, settings.token) == (2048, "12345")
    assert settings.system_parameters == {"guard": {"issuer": "x"}}


def test_system_parameters_can_come_from_the_environment() -> None:
    settings = load_settings(None, {"GATEWRIGHT_CONTROLLER_SYSTEM_PARAMETERS": "{guard: {issuer: y}}"}, {})
    assert settings.system_parameters == {"guard": {"issuer": "y"}}


OIDC = """oidc:
  issuer: https://id.example
  audience: gatewright
  grants:
    - {claim: groups, value: ops, role: admin}
    - {claim: realm_access.roles, value: team-a, role: publisher, labels: {team: a}, contexts: [/a]}
"""


def test_people_come_from_the_file_or_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(OIDC)
    from_file = load_settings(file, {}, {}).oidc
    assert from_file is not None
    assert (from_file.actor_claim, from_file.leeway, from_file.jwks_uri) == ("email", "30s", None)
    assert [entry.grant.role for entry in from_file.grants] == ["admin", "publisher"]
    assert str(from_file.grants[1].grant.scope) == "a context of /a and the label team=a"
    written = str(yaml.safe_load(OIDC)["oidc"])
    assert load_settings(None, {"GATEWRIGHT_CONTROLLER_OIDC": written}, {}).oidc == from_file


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"issuer": "http://id.example"},
            "oidc.issuer: expected an https URL such as https://id.example, or http on this",
        ),
        ({"issuer": "https://id.example/?a"}, "oidc.issuer: expected an https URL"),
        ({"issuer": "http://127.0.0.1.evil.example"}, "oidc.issuer: expected an https URL"),
        ({"jwksUri": "ftp://id.example"}, "oidc.jwksUri: expected an https URL"),
        ({"audience": ""}, "oidc.audience: expected"),
        ({"grants": []}, "oidc.grants: expected"),
        ({"grants": [{"claim": "a", "value": "b", "role": "root"}]}, "oidc.grants[0].role: expected 'admin', 'publ"),
        (
            {"grants": [{"claim": "a", "value": "b", "role": "admin", "names": ["c"]}]},
            "oidc.grants[0].role: expected an admin for all APIs, got one that is bound; leave names, labels, hosts",
        ),
        ({"grants": [{"claim": "a", "value": "b", "role": "node"}]}, "oidc.grants[0].role: expected 'admin', 'publ"),
        ({"actor": "sub"}, "oidc.actor: expected one of actorClaim, "),
    ],
)
def test_a_mistake_about_people_is_said_with_its_field(change: dict[str, object], sentence: str) -> None:
    written = str({**yaml.safe_load(OIDC)["oidc"], **change})
    with pytest.raises(Invalid) as caught:
        load_settings(None, {"GATEWRIGHT_CONTROLLER_OIDC": written}, {})
    (mistake,) = caught.value.mistakes
    assert str(mistake).startswith(sentence)


@pytest.mark.parametrize("issuer", ["https://id.example", "https://id.example:8443/realms/a/", "http://127.0.0.1:9998",
                                    "http://localhost:1/a", "http://[::1]:1"])  # fmt: skip
def test_an_issuer_is_reached_by_tls_or_on_this_machine(issuer: str) -> None:
    written = str({**yaml.safe_load(OIDC)["oidc"], "issuer": issuer})
    oidc = load_settings(None, {"GATEWRIGHT_CONTROLLER_OIDC": written}, {}).oidc
    assert oidc is not None
    assert oidc.issuer == issuer


def test_all_mistakes_of_a_file_are_reported(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("{lisen: 'a:1', maxRequestBytes: 3, requestTimeout: 1h}")
    with pytest.raises(Invalid) as caught:
        load_settings(file, {}, {})
    mistakes = [str(mistake) for mistake in caught.value.mistakes]
    assert mistakes[0].startswith(
        "lisen: expected one of acmeFolder, allowedUpstreams, apis, auditKeepDays, auditKeepEntries, "
    )
    assert mistakes[1:] == [
        "maxRequestBytes: expected at least 1024, got 3",
        "requestTimeout: expected a whole number of ms or s, such as '200ms' or '1s', got '1h'",
    ]


@pytest.mark.parametrize(
    ("text", "sentence"), [(None, "expected a settings file"), ("[", "expected a YAML document"), ("- a", "a mapping")]
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, text: str | None, sentence: str) -> None:
    file = tmp_path / "settings.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(Invalid, match=sentence):
        load_settings(file, {}, {})


def test_a_token_and_system_parameters_can_come_from_files(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(" s3cret\n")
    (tmp_path / "system.yaml").write_text("guard: {issuer: y}\n")
    settings = load_settings(
        None,
        {"GATEWRIGHT_CONTROLLER_TOKEN_FILE": str(tmp_path / "token")},
        {"system_parameters_file": str(tmp_path / "system.yaml")},
    )
    assert (settings.token, settings.system_parameters) == ("s3cret", {"guard": {"issuer": "y"}})


def test_no_message_shows_what_is_secret(tmp_path: Path) -> None:
    secret = "s3cret"  # noqa: S105
    (tmp_path / "empty").touch()
    (tmp_path / "list.yaml").write_text(f"- {secret}\n")
    for variable, value in (
        ("SYSTEM_PARAMETERS", secret),
        ("SYSTEM_PARAMETERS", f"{{guard: {secret}}}"),
        ("SYSTEM_PARAMETERS", f"{{guard: {{a: !!int {secret}}}}}"),
        ("SYSTEM_PARAMETERS", f"{{{secret}: a, {secret}: b}}"),
        ("SYSTEM_PARAMETERS", f"{{guard: *{secret}}}"),
        ("SYSTEM_PARAMETERS", f"{{guard: {secret}"),
        ("SYSTEM_PARAMETERS_FILE", str(tmp_path / "list.yaml")),
    ):
        with pytest.raises(Invalid, match="expected ") as caught:
            load_settings(None, {f"GATEWRIGHT_CONTROLLER_{variable}": value}, {})
        assert secret not in str(caught.value)
    file = tmp_path / "settings.yaml"
    file.write_text(f"token: [{secret}]")
    with pytest.raises(Invalid) as caught:
        load_settings(file, {"GATEWRIGHT_CONTROLLER_SYSTEM_PARAMETERS_FILE": str(tmp_path / "none")}, {})
    mistakes = [str(mistake) for mistake in caught.value.mistakes]
    assert mistakes == [f"{tmp_path}/none: expected a file that can be read: No such file or directory",
                    "token: expected a string, got '********'"]  # fmt: skip
    with pytest.raises(Invalid, match="expected a file with a token in it, got none"):
        load_settings(None, {"GATEWRIGHT_CONTROLLER_TOKEN_FILE": str(tmp_path / "empty")}, {})
    with pytest.raises(Invalid, match="expected either tokenFile or token, got both; leave one out"):
        load_settings(None, {"GATEWRIGHT_CONTROLLER_TOKEN": secret}, {"token_file": str(tmp_path / "empty")})


def test_the_reference_is_a_settings_file_of_all_defaults(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(reference())
    assert load_settings(file, {}, {}) == Settings()
    assert set(yaml.safe_load(reference())) == {field.encode_name for field in msgspec.structs.fields(Settings)}
    assert reference().count("# Environment: GATEWRIGHT_CONTROLLER_") == len(msgspec.structs.fields(Settings))


def test_a_certificate_and_its_key_are_named_together() -> None:
    both = {"tls_certificate": "a.pem", "tls_key": "a.key"}
    assert load_settings(None, {}, both).tls_key == "a.key"
    assert (
        load_settings(None, {"GATEWRIGHT_CONTROLLER_TLS_KEY": "b.key"}, {"tls_certificate": "a.pem"}).tls_key == "b.key"
    )
    for name, cure in (
        ("tls_key", "tlsCertificate: expected a PEM file beside tlsKey, got none; name it with --tls-certificate or "
         "GATEWRIGHT_CONTROLLER_TLS_CERTIFICATE, or leave tlsKey out"),
        ("tls_certificate", "tlsKey: expected a PEM file beside tlsCertificate, got none; name it with --tls-key or "
         "GATEWRIGHT_CONTROLLER_TLS_KEY, or leave tlsCertificate out"),
    ):  # fmt: skip
        with pytest.raises(Invalid) as caught:
            load_settings(None, {}, {name: "a"})
        assert str(caught.value) == cure


def test_nodes_have_tokens_of_a_file_or_certificates() -> None:
    with pytest.raises(Invalid, match="nodeTokenFile: expected either nodeTokenFile or nodeTlsAuthority, got both"):
        load_settings(None, {"GATEWRIGHT_CONTROLLER_NODE_TOKEN_FILE": "tokens"}, {"node_tls_authority": "nodes.pem"})


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"state_export": "states/now"},
            "stateKey: expected stateKey beside stateExport, got none; name the key that signs",
        ),
        ({"state_export": "s3://b/now?key=x", "state_key": "k"}, "expected a file or an http(s) URL, got s3://b/now"),
    ],
)
def test_a_place_for_states_has_a_key_and_can_be_written(options: dict[str, str], sentence: str) -> None:
    with pytest.raises(Invalid) as caught:
        load_settings(None, {}, options)
    assert sentence in str(caught.value.mistakes[0])
    assert "key=x" not in str(caught.value.mistakes[0])


def test_a_controller_of_gateway_api_needs_what_its_nodes_are_made_from_and_no_files_of_apis() -> None:
    environment = {"GATEWRIGHT_CONTROLLER_GATEWAY_API": "true", "GATEWRIGHT_CONTROLLER_GATEWAY_API_NODES": "nodes.yaml"}
    settings = load_settings(None, environment, {})
    assert (settings.gateway_api, settings.gateway_api_controller) == (True, "gatewright.dev/gateway-controller")
    with pytest.raises(Invalid, match="gatewayApiNodes: expected a file of a Deployment and a Service, got none; name"):
        load_settings(None, {}, {"gateway_api": True})
    with pytest.raises(Invalid, match="gatewayApi: expected either gatewayApi or apis, got both; the files of apis"):
        load_settings(None, environment, {"apis": "apis"})
    with pytest.raises(Invalid, match="gatewayApiController: expected"):
        load_settings(None, environment, {"gateway_api_controller": "no-domain"})
