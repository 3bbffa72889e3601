"""Kong's plugins as attachments: which instance runs, in which order, and what closes a route."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from gatewright_cli.kong.counterparts import COUNTERPARTS, CURES, OBSERVERS, PRIORITIES
from gatewright_documents.values import JsonObject
from gatewright_documents.yaml_reader import read_yaml

from cli.tests.kong.kong_documents import TESTDATA, apis_of, import_document, import_plugin, outcomes, shipped

ROWS: list[JsonObject] = read_yaml((TESTDATA / "plugins.txt").read_bytes())
KEY = "0123456789abcdef0123456789"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["plugin"])
def test_a_plugin_is_a_policy(row: JsonObject) -> None:
    attachments, _ = import_plugin(row["plugin"], row["config"])
    found = [{"name": attachment["name"], "params": attachment["params"]} for attachment in attachments]
    assert found == row["policies"]


def test_a_header_is_added_only_if_it_is_not_there() -> None:
    (attachment,), _ = import_plugin("request-transformer", {"add": {"headers": ["x-a:1"]}})
    assert attachment["when"] == '!("x-a" in request.headers)'


@pytest.mark.parametrize(
    ("key", "algorithm", "kind"),
    [
        (rsa.generate_private_key(65537, 2048), "RS256", {"kty": "RSA", "e": "AQAB"}),
        (ec.generate_private_key(ec.SECP256R1()), "ES256", {"kty": "EC", "crv": "P-256"}),
    ],
    ids=["RSA", "EC"],
)
def test_a_public_key_is_an_issuers(key: Any, algorithm: str, kind: JsonObject) -> None:
    """jwt-auth has the key as a JWK; acl knows the consumer by the issuer, and not by a scope of the token."""
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    pem = key.public_key().public_bytes(encoding, form).decode()
    credential = {"key": "ada-issuer", "algorithm": algorithm, "rsa_public_key": pem, "secret": "unused"}
    consumer = {"username": "ada", "jwt_secrets": [credential], "acls": [{"group": "staff"}]}
    document = one_route({"name": "jwt"}, {"name": "acl", "config": {"allow": ["staff"]}})
    (api,) = apis_of(import_document({**document, "consumers": [consumer]}))
    first, second = api["spec"]["policies"]
    (issuer,) = first["params"]["issuers"]
    (jwk,) = issuer["jwks"]["keys"]
    assert (issuer["issuer"], issuer["algorithms"]) == ("ada-issuer", [algorithm])
    assert kind.items() <= jwk.items()
    assert '(metadata.identity.method == "jwt" && metadata.identity.issuer in ["ada-issuer"])' in str(second)


def test_a_secret_header_is_in_no_file() -> None:
    attachments, imported = import_plugin("request-transformer", {"add": {"headers": [f"authorization:{KEY}"]}})
    assert attachments == []
    assert KEY not in "".join(imported.apis.values())
    assert "plugins[0].config.add.headers[0]" in outcomes(imported, "left out")


def test_a_secret_of_introspection_is_a_file() -> None:
    config = {
        "introspection_url": "https://idp.example/introspect",
        "authorization_value": "Basic Y2xpZW50OnMzY3JldC1vZi1jbGllbnQ=",
    }
    (attachment,), imported = import_plugin("oauth2-introspection", config)
    assert attachment["params"]["clientSecret"] == {"secretRef": "kong-introspection-secret"}
    assert imported.secrets == {"kong-introspection-secret": "s3cret-of-client"}


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("ldap-auth", {}),
        ("hmac-auth", {}),
        ("our-own", {}),
        ("acl", {"allow": ["a"]}),
        ("jwt", {}),
        ("ip-restriction", {"allow": ["nowhere"]}),
        ("opa", {"opa_path": "/other"}),
        ("oauth2-introspection", {"authorization_value": "Bearer x"}),
    ],
)
def test_a_plugin_that_guards_is_never_just_dropped(name: str, config: JsonObject) -> None:
    """Without a counterpart, or with a configuration that its policy refuses, the route is closed."""
    (attachment,), imported = import_plugin(name, config)
    assert (attachment["name"], attachment["params"]["statusCode"]) == ("respond", 501)
    (entry,) = [entry for entry in imported.entries if entry.field == "plugins[0]"]
    assert "its routes are closed: they answer 501" in entry.reason


def test_a_route_is_left_open_if_that_is_asked_for() -> None:
    document = one_route()
    plugins = [{"name": "our-own"}, {"name": "ldap-auth"}]
    (api,) = apis_of(import_document({**document, "plugins": plugins}, "our-own"))
    (attachment,) = api["spec"]["policies"]
    assert "ldap-auth" in attachment["params"]["body"]


def test_the_most_specific_instance_runs() -> None:
    document = one_route(limit(3))
    (service,) = document["services"]
    service |= {"plugins": [limit(2)]}
    service["routes"].append({"name": "q", "paths": ["/q"]})
    apis = apis_of(import_document({**document, "plugins": [limit(1), {**limit(9), "enabled": False}]}))
    numbers = [[policy["params"]["limits"][0]["requests"] for policy in api["spec"]["policies"]] for api in apis]
    assert numbers == [[3], [2]]


def one_route(*plugins: JsonObject) -> JsonObject:
    """A document with one route, that has these plugins."""
    route = {"name": "r", "paths": ["/p"], "plugins": list(plugins)}
    return {"services": [{"name": "s", "url": "http://a.example", "routes": [route]}]}


def limit(requests: int) -> JsonObject:
    return {"name": "rate-limiting", "config": {"minute": requests}}


def test_a_consumers_instance_has_a_condition() -> None:
    """More specific than the route's own, which has the opposite condition; a consumer of a group has the group's."""
    consumer = {"username": "ada", "keyauth_credentials": [{"key": KEY}], "plugins": [limit(7)]}
    document = one_route(limit(3), {"name": "key-auth"})
    (api,) = apis_of(import_document({**document, "consumers": [consumer]}))
    first, second, third = api["spec"]["policies"]
    ada = 'metadata.identity != null && ((metadata.identity.method == "api-key" && metadata.identity.subject == "ada"))'
    assert (first["name"], second["when"], third["when"]) == ("api-key-auth", ada, f"!({ada})")
    assert [policy["params"]["limits"][0]["requests"] for policy in (second, third)] == [7, 3]


def test_a_consumers_instance_without_identity_runs_nowhere() -> None:
    document = one_route()
    imported = import_document({**document, "consumers": [{"username": "ada", "plugins": [limit(7)]}]})
    assert "policies" not in apis_of(imported)[0]["spec"]
    assert "consumers[0].plugins[0]" in outcomes(imported, "left out")


def test_plugins_run_in_kongs_order() -> None:
    configs: dict[str, JsonObject] = {
        "request-termination": {},
        "rate-limiting": {"minute": 1},
        "ip-restriction": {"allow": ["10.0.0.1"]},
        "cors": {},
        "key-auth": {},
    }
    plugins: list[JsonObject] = [{"name": name, "config": config} for name, config in configs.items()]
    document = one_route()
    (api,) = apis_of(import_document({**document, "plugins": plugins}))
    names = [policy["name"] for policy in api["spec"]["policies"]]
    assert names == ["cors", "api-key-auth", "ip-restriction", "rate-limit", "respond"]
    plugins[1]["ordering"] = {"before": {"access": ["key-auth"]}}
    (api,) = apis_of(import_document({**document, "plugins": plugins}))
    names = [policy["name"] for policy in api["spec"]["policies"]]
    assert names == ["cors", "rate-limit", "api-key-auth", "ip-restriction", "respond"]


def test_a_plugin_of_one_protocol_has_a_condition() -> None:
    document = one_route()
    (api,) = apis_of(import_document({**document, "plugins": [{**limit(1), "protocols": ["https", "grpcs"]}]}))
    assert api["spec"]["policies"][0]["when"] == 'request.scheme == "https"'


def test_counterparts_are_policies_that_ship() -> None:
    names = {definition.name for definition in shipped()}
    for counterpart in COUNTERPARTS.values():
        words = counterpart.policies.replace(", and", "").replace(" for a month", "").replace(",", "").split()
        assert set(words) <= names, counterpart
    assert not COUNTERPARTS.keys() & (OBSERVERS.keys() | CURES.keys())
    assert COUNTERPARTS.keys() <= PRIORITIES.keys()
