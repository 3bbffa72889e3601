"""The controller's settings: a YAML file, environment variables over it, command-line options over both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import yaml
from gatewright_documents.mistake import Invalid, Mistake, Unreadable
from gatewright_documents.strict import mistakes_of
from gatewright_documents.values import JsonObject
from gatewright_documents.yaml_reader import read_yaml
from msgspec import Meta

from gatewright_controller.model import Timeout
from gatewright_controller.oidc import Oidc
from gatewright_controller.signed_state import place_mistake

PREFIX = "GATEWRIGHT_CONTROLLER_"
CONTROLLER_NAME = r"^[a-z0-9]([a-z0-9.-]{0,100}[a-z0-9])?/[A-Za-z0-9]([A-Za-z0-9._-]{0,60}[A-Za-z0-9])?$"


def described(comment: str) -> Meta:
    """The comment that stands over the field in the reference."""
    return Meta(description=comment)


def secret(comment: str) -> Meta:
    """The same, of a field whose value no message shows."""
    return Meta(description=comment, extra_json_schema={"writeOnly": True})


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Every field has a default; unknown keys are refused."""

    listen: Annotated[str, described("HOST:PORT of the management API; port 0 takes a free one.")] = "127.0.0.1:9090"
    tls_certificate: Annotated[
        str,
        described(
            "PEM file of the management API's certificate, followed by those of its authorities: the API then speaks "
            "TLS 1.2 or later, and no HTTP in clear. It is read again when it has been renewed. None: HTTP in clear."
        ),
    ] = ""
    tls_key: Annotated[
        str, described("PEM file of the certificate's key, without a passphrase; with `tlsCertificate` only.")
    ] = ""
    node_listen: Annotated[
        str, described("Where nodes connect: unix:PATH, or HOST:PORT on loopback. The socket is the owner's alone.")
    ] = "unix:/run/gatewright/controller.sock"
    node_tls_listen: Annotated[
        str,
        described("HOST:PORT where nodes connect over the network; it shows them `tlsCertificate`. None: nowhere."),
    ] = ""
    node_tls_authority: Annotated[
        str,
        described(
            "PEM file of who signs the certificates of nodes: each shows one for its own id. None: nodes have tokens "
            "with the role node."
        ),
    ] = ""
    node_token_file: Annotated[
        str,
        described(
            "File of tokens, a line each, by which any node may connect over the network, beside those that are made "
            "with the role node. It is read again for each node. None: only these."
        ),
    ] = ""
    peers: Annotated[
        str, described("File in which a supervisor names the pids that may connect as nodes; none: any of the owner's.")
    ] = ""
    definitions: Annotated[
        str, described("Folder of policy definitions, the policy-definitions/ of a build's output.")
    ] = "policy-definitions"
    gateway: Annotated[
        str, described("File of the Gateway: what nodes listen on. None: what each node has by itself.")
    ] = ""
    rendered_gateway: Annotated[
        str,
        described(
            "File that gets the Gateway of `gateway` in the form that a node's engine reads when it starts; "
            "certificates that ACME is to obtain get placeholders. None: it is not written."
        ),
    ] = ""
    acme_folder: Annotated[
        str, described("Folder of what is obtained by ACME: certificates, their keys, accounts.")
    ] = "acme"
    challenges_listen: Annotated[
        str,
        described(
            "unix:PATH where Envoy asks for answers to challenges of ACME; it needs `peers`. None: no certificates are "
            "obtained."
        ),
    ] = ""
    metrics_listen: Annotated[
        str,
        described("unix:PATH where the engine of a node gathers the controller's metrics; it needs `peers`."),
    ] = ""
    apis: Annotated[
        str,
        described(
            "Folder of files, or a file, that all APIs are taken from: what is saved there is applied, what is deleted "
            "goes, and the management API takes no writes of APIs. None: APIs are written by the management API."
        ),
    ] = ""
    gateway_api: Annotated[
        bool,
        described(
            "Whether this controller is one of Kubernetes' Gateway API: Gateways, routes and PolicyAttachments become "
            "resources of the owner `kubernetes`, and each Gateway gets nodes. It needs `gatewayApiNodes`."
        ),
    ] = False
    gateway_api_controller: Annotated[
        str,
        Meta(
            pattern=CONTROLLER_NAME,
            description="The controllerName of the GatewayClasses that are this controller's, as DOMAIN/NAME. "
            "Controllers with the same one elect a leader, which alone writes.",
        ),
    ] = "gatewright.dev/gateway-controller"
    gateway_api_namespace: Annotated[
        str,
        described("Namespace of the leader's Lease, and of the nodes of all Gateways. None: that of this pod."),
    ] = ""
    gateway_api_nodes: Annotated[
        str,
        described(
            "YAML file of two documents, a Deployment and a Service, from which those of each Gateway are made. It is "
            "read again at each change."
        ),
    ] = ""
    kubeconfig: Annotated[
        str,
        described(
            "File by which the API server of Kubernetes is reached, with a token or a client certificate. None: by the "
            "service account of this pod."
        ),
    ] = ""
    engine: Annotated[
        str,
        described(
            "Program of the policy engine, which checks conditions (`when`) before an API is stored. None: only nodes "
            "check them, and reject the API."
        ),
    ] = ""
    database: Annotated[
        str,
        secret(
            "Where APIs, the Gateway and their history are kept: sqlite:PATH, or postgresql://USER@HOST:PORT/NAME, "
            "which may have a password in it."
        ),
    ] = "sqlite:controller.db"
    database_file: Annotated[
        str,
        described("File that holds the database's URL, instead of `database`; white space around it does not count."),
    ] = ""
    history_keep: Annotated[
        int,
        Meta(ge=2, le=1_000_000, description="Revisions of each resource that are kept, the newest; older are pruned."),
    ] = 100
    history_keep_deleted_days: Annotated[
        int,
        Meta(
            ge=1,
            le=36_500,
            description="Days for which a resource that was deleted can be rolled back; then its history is pruned.",
        ),
    ] = 90
    audit_keep_days: Annotated[
        int, Meta(ge=1, le=36_500, description="Days for which an entry of the audit log is kept.")
    ] = 400
    audit_keep_entries: Annotated[
        int,
        Meta(ge=1000, description="Entries of the audit log that are kept at most, the newest, whatever their age."),
    ] = 1_000_000
    last_good: Annotated[
        str,
        described(
            "File of the last good state of a node that serves without a controller. Where it is there, a database "
            "that cannot be opened is tried again until it can; else the controller ends."
        ),
    ] = ""
    state_key: Annotated[
        str,
        described(
            "PEM file of the private key (Ed25519) that signs states, from which nodes start without a controller. "
            "None: no states are made."
        ),
    ] = ""
    state_export: Annotated[
        str,
        secret(
            "File, or http(s) URL that takes a PUT, such as a bucket's: the state is written there after changes. It "
            "needs `stateKey`. None: it is written nowhere."
        ),
    ] = ""
    token: Annotated[
        str, secret("Bearer token of the management API. It or `oidc` is required unless it listens on loopback only.")
    ] = ""
    token_file: Annotated[
        str, described("File that holds the token, instead of `token`; white space around it does not count.")
    ] = ""
    oidc: Annotated[
        Oidc | None,
        described(
            "People who come with a JWT of an OpenID provider: `issuer`, `audience`, `grants` and more. A controller "
            "with it refuses requests without credentials, on loopback too."
        ),
    ] = None
    max_request_bytes: Annotated[
        int, Meta(ge=1024, description="Largest body that the management API takes, in bytes.")
    ] = 1024 * 1024
    requests_per_second: Annotated[
        float,
        Meta(
            gt=0,
            description="Requests that the management API takes of each token, but for the one of `token`; five times "
            "as many at once.",
        ),
    ] = 200.0
    request_timeout: Annotated[
        Timeout, described("Time an upstream has from the end of a request until its answer begins.")
    ] = "60s"
    idle_timeout: Annotated[
        Timeout, described("Time without a byte in either direction after which an exchange ends.")
    ] = "60s"
    connect_timeout: Annotated[Timeout, described("Time a connection to an upstream may take.")] = "5s"
    trusted_ca: Annotated[
        str, described("PEM file of certificate authorities for https upstreams, as the nodes see it.")
    ] = "/etc/ssl/certs/ca-certificates.crt"
    allowed_upstreams: Annotated[
        list[str],
        described(
            "Upstreams that publishers may name although they are private: HOST:PORT, a network such as "
            "169.254.0.0/16, unix:/path of a socket or unix:/path/ of a folder of them. Without being listed here the "
            "node's own private ports, link-local addresses, the metadata services of clouds and Unix sockets are "
            "refused."
        ),
    ] = []
    secret_key: Annotated[
        str,
        secret(
            "Keys by which the values of Secrets are encrypted in the database, each 32 bytes as base64 or hex, with "
            "white space between them: the first one encrypts, all decrypt. None: no Secret can be written."
        ),
    ] = ""
    secret_key_file: Annotated[
        str,
        described(
            "File that holds the keys, instead of `secretKey`; it is read again for `gatewright secret rotate`, and "
            "for a value that none of the keys fits."
        ),
    ] = ""
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], described("Of its own log lines: debug, info, warning or error.")
    ] = "info"
    system_parameters: Annotated[
        dict[str, dict[str, Any]],
        secret("What the operator, not the API's publisher, sets for a policy, under the policy's name."),
    ] = {}
    system_parameters_file: Annotated[
        str, described("YAML file that holds the system parameters, instead of `systemParameters`.")
    ] = ""


FROM_FILES = {"tokenFile": "token", "databaseFile": "database", "systemParametersFile": "systemParameters"}
"""Settings that name a file, and those whose value the file holds."""
NOT_TEXT = (
    "max_request_bytes",
    "requests_per_second",
    "allowed_upstreams",
    "history_keep",
    "history_keep_deleted_days",
    "audit_keep_days",
    "audit_keep_entries",
    "gateway_api",
)
"""Fields whose variables hold YAML of a number, a truth value or a list."""


def load_settings(file: Path | None, environment: Mapping[str, str], options: Mapping[str, str | bool]) -> Settings:
    """`environment` names a field `nodeListen` GATEWRIGHT_CONTROLLER_NODE_LISTEN; its other variables are not ours
    (an orchestrator adds some of its own under our prefix). `options` are by field name. Raises `Invalid`."""
    values = _read(file) if file else {}
    fields = {field.name: field for field in msgspec.structs.fields(Settings)}
    for field in fields.values():
        if (text := environment.get(PREFIX + field.name.upper())) is not None:
            values[field.encode_name] = _plain(text, field.name)
    values |= {fields[name].encode_name: value for name, value in options.items()}
    mistakes = [*_take_from_files(values), *_alone(values), *_state_mistakes(values), *_gateway_api_mistakes(values)]
    try:
        settings = msgspec.convert(values, Settings)
    except msgspec.ValidationError:  # the first mistake alone
        mistakes += mistakes_of(Settings, values)
        if not mistakes:
            raise
    if mistakes:
        raise Invalid(mistakes)
    if settings.oidc and (mistakes := list(settings.oidc.mistakes())):
        raise Invalid(mistakes)
    return settings


def _take_from_files(values: JsonObject) -> Iterator[Mistake]:
    """Puts what the files of FROM_FILES hold into the fields that they stand for."""
    for named, field in FROM_FILES.items():
        path = values.get(named)
        if not isinstance(path, str) or not path:
            continue
        if values.get(field):
            yield Mistake(named, f"expected either {named} or {field}, got both; leave one out")
            continue
        try:
            text = _text(Path(path), "a file that can be read")
            values[field] = _mapping(text, path) if field == "systemParameters" else _line(text, path, field)
        except Invalid as invalid:
            yield from invalid.mistakes


def _alone(values: JsonObject) -> Iterator[Mistake]:
    """A mistake where there is a certificate without its key, or the other way round, or of what excludes each
    other both."""
    if values.get("secretKey") and values.get("secretKeyFile"):
        yield Mistake("secretKeyFile", "expected either secretKeyFile or secretKey, got both; leave one out")
    if values.get("nodeTokenFile") and values.get("nodeTlsAuthority"):
        got = "both: with an authority each node shows a certificate; leave one out"
        yield Mistake("nodeTokenFile", f"expected either nodeTokenFile or nodeTlsAuthority, got {got}")
    for field, other, option in (
        ("tlsKey", "tlsCertificate", "tls-key"),
        ("tlsCertificate", "tlsKey", "tls-certificate"),
    ):
        if values.get(other) and not values.get(field):
            cure = f"name it with --{option} or {PREFIX}{option.upper().replace('-', '_')}, or leave {other} out"
            yield Mistake.expecting(f"a PEM file beside {other}", "none", cure, field=field)


def _state_mistakes(values: JsonObject) -> Iterator[Mistake]:
    """Of the place that states are exported to."""
    place = values.get("stateExport")
    if not place or not isinstance(place, str):
        return
    if mistake := place_mistake(place):
        yield Mistake("stateExport", mistake)
    if not values.get("stateKey"):
        cure = f"name the key that signs states with --state-key or {PREFIX}STATE_KEY, or leave stateExport out"
        yield Mistake.expecting("stateKey beside stateExport", "none", cure, field="stateKey")


def _gateway_api_mistakes(values: JsonObject) -> Iterator[Mistake]:
    """Of what a controller of Gateway API needs, and of what excludes it."""
    if not values.get("gatewayApi"):
        return
    if not values.get("gatewayApiNodes"):
        cure = f"name it with --gateway-api-nodes or {PREFIX}GATEWAY_API_NODES; the chart renders one"
        yield Mistake.expecting("a file of a Deployment and a Service", "none", cure, field="gatewayApiNodes")
    if values.get("apis"):
        cure = "the files of apis are all that there is; leave one out"
        yield Mistake.expecting("either gatewayApi or apis", "both", cure, field="gatewayApi")


def _line(text: str, where: str, field: str) -> str:
    if not text.strip():
        raise Invalid([Mistake(where, f"expected a file with a {field} in it, got none")])
    return text.strip()


def _read(file: Path) -> JsonObject:
    return _mapping(_text(file, "a settings file"), str(file))


def _text(file: Path, expected: str) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise Invalid([Mistake(str(file), f"expected {expected}: {error.strerror}")]) from None
    except UnicodeDecodeError:
        raise Invalid([Mistake(str(file), "expected text in UTF-8")]) from None


def _mapping(text: str, where: str) -> JsonObject:
    """The YAML mapping in a text; no message has any of it, for there may be secrets in it."""
    try:
        values = read_yaml(text.encode())
    except Unreadable as unreadable:
        without_values = [
            Mistake.expecting(mistake.expected, cure=mistake.cure, line=mistake.line, file=where)
            for mistake in unreadable.mistakes
        ]
        raise Invalid(without_values) from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise Invalid([Mistake(where, "expected a mapping of settings")])
    return values


def _plain(text: str, name: str) -> object:
    """Text, but for the fields that hold something else, whose variables hold YAML."""
    if name in ("system_parameters", "oidc"):
        return _mapping(text, PREFIX + name.upper())
    if name not in NOT_TEXT:
        return text
    try:
        return read_yaml(text.encode())
    except Unreadable:
        return text


def reference() -> str:
    """A settings file with every field at its default, each under its comment."""
    fields = msgspec.json.schema(Settings)["$defs"]["Settings"]["properties"]
    parts = []
    for field in msgspec.structs.fields(Settings):
        value = yaml.safe_dump({field.encode_name: msgspec.structs.asdict(Settings())[field.name]}, sort_keys=False)
        comment = fields[field.encode_name]["description"]
        parts.append(f"# {comment}\n# Environment: {PREFIX}{field.name.upper()}\n{value}")
    return "\n".join(parts)
