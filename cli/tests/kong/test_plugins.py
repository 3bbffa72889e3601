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
    """jwt-auth has the key as a JWK; acl knows the consumer by its label, and not by a scope of the token."""
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    pem = key.public_key().public_bytes(encoding, form).decode()
    credential = {"key": "ada-issuer", "algorithm": algorithm, "rsa_public_key": pem, "secret": "unused"}
    consumer = {"username": "ada", "jwt_secrets": [credential], "acls": [{"group": "staff"}]}
    document = one_route({"name": "jwt"}, {"name": "acl", "config": {"allow": ["staff"]}})
    imported = import_document({**document, "consumers": [consumer]})
    (api,) = apis_of(imported)
    first, second, third = api["spec"]["policies"]
    assert second == attachment_of("consumer", header="x-consumer-username")
    assert imported.consumers[0]["spec"] == {"jwt": [{"issuer": "ada-issuer"}]}
    (issuer,) = first["params"]["issuers"]
    (jwk,) = issuer["jwks"]["keys"]
    assert (issuer["issuer"], issuer["algorithms"]) == ("ada-issuer", [algorithm])
    assert kind.items() <= jwk.items()
    assert '"acl/staff" in metadata.identity.labels' in str(third)


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


def attachment_of(name: str, **params: object) -> JsonObject:
    return {"name": name, "version": "v1", "params": params}


def ada(**more: object) -> JsonObject:
    """A consumer with a key."""
    return {"username": "ada", "keyauth_credentials": [{"key": KEY}], **more}


def minute(requests: int) -> JsonObject:
    return {"requests": requests, "per": "1m", "name": "minute"}


NO_PLAN = "!(metadata.identity != null && has(metadata.identity.plan))"


def test_a_consumers_instance_has_a_condition() -> None:
    """A Plan says nothing of headers; the consumer's instance is more specific than the route's own."""
    consumer = ada(plugins=[{"name": "correlation-id", "config": {"generator": "uuid"}}])
    document = one_route({"name": "correlation-id", "config": {"header_name": "x-id"}}, {"name": "key-auth"})
    (api,) = apis_of(import_document({**document, "consumers": [consumer]}))
    own, shared = (policy for policy in api["spec"]["policies"] if policy["name"] == "request-id")
    is_ada = 'metadata.identity != null && has(metadata.identity.consumer) && metadata.identity.consumer == "ada"'
    assert (own["when"], shared["when"]) == (is_ada, f"!({is_ada})")


def test_limits_of_consumers_and_groups_are_plans() -> None:
    """The consumer's own comes before its group's, and both before the route's, which is for all others."""
    gold = {"name": "gold", "plugins": [limit(5)]}
    consumers = [
        ada(plugins=[limit(7)], groups=[{"name": "gold"}]),
        {"username": "bob", "groups": [{"name": "gold"}]},
        {"username": "eve"},
    ]
    document = {"consumer_groups": [gold], "consumers": consumers}
    imported = import_document({**one_route(limit(3), {"name": "key-auth"}), **document})
    plans = {plan["metadata"]["name"]: plan["spec"]["limits"] for plan in imported.plans}
    assert plans == {"ada": [minute(7)], "gold": [minute(5)]}
    assert [consumer.get("spec") for consumer in imported.consumers] == [{"plan": "ada"}, {"plan": "gold"}, None]
    (api,) = apis_of(imported)
    key = [{"from": "identity"}]
    assert api["spec"]["policies"][1:] == [attachment_of("rate-limit", plan=True, limits=[minute(3)], key=key)]
    (api,) = apis_of(import_document({**one_route({"name": "key-auth"}), **document}))
    assert api["spec"]["policies"][1:] == [attachment_of("rate-limit", plan=True)]


def test_a_quota_of_a_plan_stands_beside_a_routes_own() -> None:
    gold = {"name": "gold", "plugins": [{"name": "rate-limiting", "config": {"month": 900}}]}
    own = {"name": "rate-limiting", "config": {"minute": 3, "month": 100}}
    document = {**one_route(own, {"name": "key-auth"}), "consumer_groups": [gold]}
    imported = import_document({**document, "consumers": [ada(groups=[{"name": "gold"}])]})
    assert imported.plans[0]["spec"] == {"quotas": [{"requests": 900, "period": "month"}]}
    _, plan, rate, quota = apis_of(imported)[0]["spec"]["policies"]
    assert plan == attachment_of("quota", plan=True, period="month")
    assert (rate["name"], rate["when"], quota["name"], quota["when"]) == ("rate-limit", NO_PLAN, "quota", NO_PLAN)


@pytest.mark.parametrize(
    "config",
    [{"minute": 5, "limit_by": "ip"}, {"minute": 20_000_000}, {"year": 5}],
    ids=["by address", "beyond a Plan", "without a limit that a Plan has"],
)
def test_limits_that_no_plan_has_are_conditions(config: JsonObject) -> None:
    gold = {"name": "gold", "plugins": [{"name": "rate-limiting", "config": config}]}
    document = {**one_route(limit(3), {"name": "key-auth"}), "consumer_groups": [gold]}
    imported = import_document({**document, "consumers": [ada(groups=[{"name": "gold"}])]})
    assert imported.plans == []
    in_group = (
        'metadata.identity != null && has(metadata.identity.labels) && ("group/gold" in metadata.identity.labels)'
    )
    assert apis_of(imported)[0]["spec"]["policies"][-1]["when"] == f"!({in_group})"


def test_an_instance_of_a_consumer_and_a_route_comes_before_the_plan() -> None:
    plugins = [limit(5), {**limit(9), "route": "r"}]
    imported = import_document({**one_route(limit(3), {"name": "key-auth"}), "consumers": [ada(plugins=plugins)]})
    own, plan, others = apis_of(imported)[0]["spec"]["policies"][1:]
    assert (own["params"]["limits"], plan["params"], others["params"]["limits"]) == (
        [minute(9)], {"plan": True}, [minute(3)],
    )  # fmt: skip
    assert plan["when"] == f"!({own['when']})"
    assert others["when"] == f"({NO_PLAN}) && ({plan['when']})"


def test_users_of_hashes_are_no_consumers_with_plans() -> None:
    """A password that is no key stays with basic-auth, whose users have labels as scopes."""
    gold = {"name": "gold", "plugins": [limit(5)]}
    consumer = {"username": "ada", "basicauth_credentials": [{"username": "ada", "password": "short"}]}
    document = {**one_route(limit(3), {"name": "basic-auth"}), "consumer_groups": [gold]}
    imported = import_document({**document, "consumers": [{**consumer, "groups": [{"name": "gold"}]}]})
    basic, own, others = apis_of(imported)[0]["spec"]["policies"]
    assert (basic["name"], basic["params"]["users"][0]["scopes"]) == ("basic-auth", ["group/gold"])
    assert '"group/gold" in metadata.identity.scopes' in own["when"]
    assert (own["params"]["limits"], others["params"]["limits"]) == ([minute(5)], [minute(3)])
    assert imported.keys == []


def test_passwords_that_are_random_are_keys() -> None:
    consumer = {"username": "ada", "basicauth_credentials": [{"username": "ada", "password": KEY}]}
    document = {**one_route({"name": "basic-auth"}), "consumers": [consumer]}
    imported = import_document(document)
    (policy,) = apis_of(imported)[0]["spec"]["policies"]
    assert policy == attachment_of(
        "api-key-auth", consumers=True, basic=True, header="", ownerHeader="x-consumer-username", forward=True
    )
    assert imported.keys == [{"consumer": "ada", "name": "kong-password-1", "key": KEY}]
    assert imported.secrets == {}
    hashed = import_document({**document, "_info": {"skip_hash_for_basic_auth": True}})
    assert hashed.keys == []
    assert "consumers[0].basicauth_credentials[0]" in outcomes(hashed, "left out")


def test_keys_that_do_not_carry_over_are_said_and_not_shown() -> None:
    keys = ["planted-short", KEY, f"planted {KEY}", KEY, "{vault://env/planted-key-of-ada}"]
    ended = [{"key": f"{KEY}-{number}", **end} for number, end in enumerate([{"ttl": 5}, {"ttl": 5, "created_at": 7}])]
    lasting = {"key": f"{KEY}-lasting", "ttl": 10**9, "created_at": 1_900_000_000}
    credentials = [*({"key": key} for key in keys), *ended, lasting]
    imported = import_document({"consumers": [{"username": "Ada & Co", "keyauth_credentials": credentials}]})
    assert imported.keys == [
        {"consumer": "ada-co", "name": "kong-2", "key": KEY},
        {"consumer": "ada-co", "name": "kong-8", "key": f"{KEY}-lasting", "expiresAt": "2061-11-23T19:33:20Z"},
    ]
    left_out = [f"consumers[0].keyauth_credentials[{number}]" for number in (0, 2, 3, 4, 5, 6)]
    assert outcomes(imported, "left out") == left_out
    assert outcomes(imported, "changed") == ["consumers[0].username"]
    shown = str([(entry.reason, entry.cure, entry.entity, entry.field) for entry in imported.entries])
    assert [text for text in (*keys, "planted") if text in shown] == []


def test_groups_of_similar_names_stay_apart() -> None:
    names = ["Staff", "staff", "ST-AFF", "***", "!!!"]
    imported = import_document({"consumers": [ada(acls=[{"group": name} for name in names])]})
    labels = imported.consumers[0]["metadata"]["labels"]
    assert list(labels) == ["acl/staff", "acl/staff-2", "acl/st-aff", "acl/unnamed", "acl/unnamed-2"]
    many = import_document({"consumers": [ada(acls=[{"group": f"g{number}"} for number in range(65)])]})
    assert (many.consumers, many.keys) == ([], []), "without a label it would pass where its group is denied"


def test_a_consumers_instance_without_identity_runs_nowhere() -> None:
    document = one_route()
    imported = import_document({**document, "consumers": [{"username": "ada", "plugins": [limit(7)]}]})
    assert "policies" not in apis_of(imported)[0]["spec"]
    assert "consumers[0].plugins[0].name" in outcomes(imported, "changed"), "its Plan is there, and no API applies it"


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
