"""Plugins that find out who a client is, and that let clients in by it."""

from __future__ import annotations

import base64
import binascii
import re

from gatewright_documents.values import JsonObject

from gatewright_cli.kong.attachments import NoCounterpartError, Scene, attach, leave_out
from gatewright_cli.kong.consumers import REFERENCE
from gatewright_cli.kong.credentials import INSTALL
from gatewright_cli.kong.deck import Plugin
from gatewright_cli.kong.expressions import cel_text

ANONYMOUS = (
    "requests without credentials are refused: no consumer stands for them",
    "remove the attachment where all may pass",
)
IN_BODY = ("credentials in bodies are not looked for", "have clients send a header")
ONE_PLACE = ("tokens are looked for in one place", "set token of jwt-auth")
NO_HEADERS = ("no further headers are sent to the server", "")
CONSUMER_HEADER = "x-consumer-username"
PASSWORDS_ARE_KEYS = (
    "a password is a key of its consumer: it opens routes with key-auth, too, and keys are passwords here"
)
CONSUMER_HEADERS = "the upstream gets the consumer's name in x-consumer-username, and no other header about it"
ENDPOINT = re.compile(r"/v1/data/(.+)")


def key_auth(plugin: Plugin, scene: Scene) -> list[JsonObject]:
    """api-key-auth, which accepts keys of consumers."""
    config, report = plugin.config, scene.report
    names = config.texts("key_names") or ["apikey"]
    if len(names) > 1:
        report.changed(config.where("key_names"), f"keys are looked for by one name, {names[0]}", "tell the clients")
    if "_" in names[0]:
        reason = f"the gateway refuses requests with a header like {names[0]}, which upstreams may take for another"
        report.changed(
            config.where("key_names"), reason, "set underscoredHeaders of the Gateway, or use a header with -"
        )
    report.changed(plugin.fields.where("name"), CONSUMER_HEADERS, "read x-consumer-username")
    leave_out(
        plugin, report, anonymous=ANONYMOUS, key_in_body=IN_BODY, realm=("it is the same for all", "set realm"),
        identity_realms=("keys of Konnect's realms are not in the file", "import them as consumers"),
    )  # fmt: skip
    config.see("run_on_preflight")
    params: JsonObject = {
        "consumers": True,
        "header": names[0] if config.flag("key_in_header", True) else "",
        "query": names[0] if config.flag("key_in_query", True) else "",
        "ownerHeader": CONSUMER_HEADER,
    }
    if not config.flag("hide_credentials"):
        params["forward"] = True
    return [attach("api-key-auth", params)]


def basic_auth(plugin: Plugin, scene: Scene) -> list[JsonObject]:
    """api-key-auth, if passwords are keys of consumers, or basic-auth with all of the file."""
    leave_out(plugin, scene.report, anonymous=ANONYMOUS, realm=("it is the same for all", "set realm"))
    plugin.config.see("run_on_preflight")
    if scene.credentials.are_passwords_keys:
        scene.report.changed(plugin.fields.where("name"), PASSWORDS_ARE_KEYS, "")
        forward = {} if plugin.config.flag("hide_credentials") else {"forward": True}
        basic = {"consumers": True, "basic": True, "header": "", "ownerHeader": CONSUMER_HEADER, **forward}
        return [attach("api-key-auth", basic)]
    scene.report.changed(plugin.fields.where("name"), "x-consumer-username has the user name of the password", "")
    users = scene.credentials.users
    if len(users) > 1000:
        raise NoCounterpartError(
            "basic-auth has 1000 users at most", "keep them in a database, with a policy of your own"
        )
    if not users:
        cure = "write users to secrets/kong-users, as `htpasswd -BC 10` does"
        scene.report.changed(
            plugin.fields.where("name"), "the file has no passwords, and the API is pending until there are some", cure
        )
    params: JsonObject = {"users": users} if users else {"htpasswd": {"secretRef": "kong-users"}}
    if not plugin.config.flag("hide_credentials"):
        params["forward"] = True
    return [attach("basic-auth", {**params, "userHeader": CONSUMER_HEADER})]


def jwt(plugin: Plugin, scene: Scene) -> list[JsonObject]:
    """jwt-auth, with the public keys of all consumers, and consumer, which finds the one of the issuer."""
    config, report = plugin.config, scene.report
    if not scene.credentials.issuers:
        raise NoCounterpartError(
            "no consumer has a public key that jwt-auth takes", f"name issuers in jwt-auth, or: {INSTALL}"
        )
    if config.text("key_claim_name", "iss") != "iss":
        raise NoCounterpartError("a token's issuer is its claim iss", "write the attachment of jwt-auth by hand")
    reason = "exp and nbf are verified whenever a token has them, and tokens are looked for in Authorization only"
    report.changed(plugin.fields.where("name"), reason, "set token of jwt-auth for another place")
    leave_out(
        plugin, report, anonymous=ANONYMOUS, cookie_names=ONE_PLACE, uri_param_names=ONE_PLACE,
        maximum_expiration=("how long tokens live is the issuer's matter", ""),
        secret_is_base64=("there are no shared secrets", ""), realm=("it is the same for all", ""),
    )  # fmt: skip
    config.see("run_on_preflight", "claims_to_verify", "key_claim_name")
    names = config.texts("header_names")
    if names and names != ["authorization"]:
        report.left_out(config.where("header_names"), *ONE_PLACE)
    issuers = {"issuers": scene.credentials.issuers}
    return [attach("jwt-auth", issuers), attach("consumer", {"header": CONSUMER_HEADER})]


def acl(plugin: Plugin, scene: Scene) -> list[JsonObject]:
    """cel-authz, by the labels of consumers."""
    config = plugin.config
    allow = config.texts("allow") or config.texts("whitelist")
    deny = config.texts("deny") or config.texts("blacklist")
    if not scene.is_identified:
        raise NoCounterpartError("no plugin of the route finds out who the client is", "attach one before it")
    if config.flag("include_consumer_groups") or config.flag("always_use_authenticated_groups"):
        raise NoCounterpartError(
            "groups of another kind than acls are asked for", "write the rule of cel-authz by hand"
        )
    names = allow or deny
    if not names:
        raise NoCounterpartError("it names no group", "set allow or deny")
    condition = scene.credentials.in_groups("acl", names)
    if not config.flag("hide_groups_header"):
        scene.report.left_out(
            plugin.fields.where("name"), "the upstream does not get x-consumer-groups", "read x-consumer-username"
        )
    rule = condition if allow else f"metadata.identity != null && !({condition})"
    return [attach("cel-authz", {"allow": [{"name": "acl", "when": rule}]})]


def oauth2_introspection(plugin: Plugin, scene: Scene) -> list[JsonObject]:
    """oauth2-introspection; its client's secret becomes a file."""
    config = plugin.config
    client, secret = _client(config.text("authorization_value"))
    if not client:
        raise NoCounterpartError(
            "authorization_value is not `Basic …` with a client and its secret", "write the attachment by hand"
        )
    name = "kong-introspection-secret"
    known = scene.credentials.secrets.setdefault(name, secret)
    if known != secret:
        name = f"{name}-{sum(key.startswith(name) for key in scene.credentials.secrets) + 1}"
        scene.credentials.secrets[name] = secret
    leave_out(
        plugin, scene.report, anonymous=ANONYMOUS, consumer_by=("the identity is the token's subject", ""),
        custom_introspection_headers=NO_HEADERS, introspect_request=NO_HEADERS,
        custom_claims_forward=("claims go upstream by names of headers", "set claimHeaders"),
        keepalive=("connections are kept", ""), token_type_hint=("no hint is sent", ""),
    )  # fmt: skip
    config.see("run_on_preflight")
    params: JsonObject = {
        "url": config.text("introspection_url"),
        "clientId": client,
        "clientSecret": {"secretRef": name},
    }
    params["cacheSeconds"] = max(0, min(int(config.number("ttl", 30)), 3600))
    if config.has("timeout"):
        params["timeoutMilliseconds"] = max(10, min(config.whole("timeout"), 30_000))
    if config.flag("hide_credentials"):
        params["forwardToken"] = False
    return [attach("oauth2-introspection", params)]


def _client(header: str) -> tuple[str, str]:
    """The client's id and secret of a header `Basic …`; empty if there are none."""
    kind, _, encoded = header.partition(" ")
    if kind.lower() != "basic" or REFERENCE.search(header):
        return "", ""
    try:
        client, colon, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return "", ""
    return (client, secret) if colon and secret else ("", "")


def opa(plugin: Plugin, scene: Scene) -> list[JsonObject]:
    """opa-authz, which sends another input."""
    config = plugin.config
    path = ENDPOINT.fullmatch(config.text("opa_path"))
    if path is None:
        raise NoCounterpartError("opa_path is not below /v1/data/", "write the attachment of opa-authz by hand")
    reason = "the input is another one: method, path, headers and identity are at its top, and not in request.http"
    scene.report.changed(plugin.fields.where("name"), reason, "change the rules in OPA")
    leave_out(plugin, scene.report, include_consumer_in_opa_input=("the input has the identity", ""),
              include_body_in_opa_input=("bodies are not in the input", "put values into the metadata"))  # fmt: skip
    place = f"{config.text('opa_host', 'localhost')}:{config.whole('opa_port', 8181)}"
    url = f"{config.text('opa_protocol', 'http')}://{place}"
    return [attach("opa-authz", {"url": url, "path": path[1]})]


def ip_restriction(plugin: Plugin, scene: Scene) -> list[JsonObject]:
    """ip-restriction."""
    config = plugin.config
    lists = {
        "allow": config.texts("allow") or config.texts("whitelist"),
        "deny": config.texts("deny") or config.texts("blacklist"),
    }
    params: JsonObject = {key: addresses for key, addresses in lists.items() if addresses}
    status = config.whole("status", 403)
    if status != 403:
        params["statusCode"] = status if status in (401, 404, 429, 451, 503) else 403
    if params.get("statusCode", status) != status:
        scene.report.changed(config.where("status"), f"the answer is 403, and not {status}")
    leave_out(plugin, scene.report, message=("the answer's text is the gateway's", ""))
    return [attach("ip-restriction", params)]


def bot_detection(plugin: Plugin, scene: Scene) -> list[JsonObject]:
    """cel-authz by the header user-agent."""
    config = plugin.config
    allow, deny = config.texts("allow") or config.texts("whitelist"), config.texts("deny") or config.texts("blacklist")
    scene.report.left_out(
        plugin.fields.where("name"), "Kong's own list of bots has no counterpart", "list them in deny"
    )
    agent = 'request.headers["user-agent"]'
    allowed = [f"!{agent}.matches({cel_text(pattern)})" for pattern in allow]
    rules = [{"when": " && ".join([f"{agent}.matches({cel_text(pattern)})", *allowed])} for pattern in deny[:64]]
    if len(deny) > 64:
        scene.report.left_out(
            config.where("deny"), "cel-authz has 64 rules at most: the first ones are attached", "join them"
        )
    return [attach("cel-authz", {"deny": rules})] if rules else []
