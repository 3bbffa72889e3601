"""What a node is to listen on, for the supervisor: a Gateway as it was written, the environment over it and options
over both, as one document; and that document rendered. Without a controller, and pure but for `read_effective`.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path as FilePath
from typing import NamedTuple

import msgspec
from gatewright_documents.document import read_file
from gatewright_documents.mistake import Invalid, Unreadable, format_path
from gatewright_documents.values import JsonObject, JsonValue
from gatewright_documents.yaml_reader import read_yaml
from msgspec import UNSET

from gatewright_controller._gen import envoy_names
from gatewright_controller.local.acme_folder import OBTAINED
from gatewright_controller.model import GatewaySpec, gateway_from_document, gateway_to_document
from gatewright_controller.model.settings_fields import SettingsField, settings_fields
from gatewright_controller.validation.gateway import validate_gateway

PREFIX = "GATEWRIGHT_GATEWAY_"
Path = tuple[str | int, ...]


class Listening(NamedTuple):
    """One listener: its name, where it listens, http or https, whether that is TLS, and whether there is HTTP/3 on the
    same port of UDP."""

    name: str
    host: str
    port: int
    protocol: str
    tls: bool
    http3: bool


class BootstrapValues(msgspec.Struct, frozen=True):
    """What of a Gateway stands in Envoy's bootstrap, and changes with a restart only; None: as the node decides.

    connections: of clients, at once. memory: bytes of Envoy's heap.
    """

    connections: int | None
    memory: int | None


def effective(document: JsonObject | None, environment: Mapping[str, str], options: Mapping[str, object]) -> JsonObject:
    """The whole Gateway: `document` (None: none was written), under it the defaults, over it the environment, over that
    the options of OPTIONS. Raises `Invalid`; a mistake in a variable or an option is reported under its name.
    """
    merged: JsonObject = copy.deepcopy(document) if document else dict(EMPTY)
    labels: dict[str, str] = {}
    for label, path, value in (*_of_environment(environment), *_of_options(options)):
        if _set(merged, path, value):
            labels[format_path(path)] = label
    try:
        return gateway_to_document(validate_gateway(merged))
    except Invalid as invalid:
        raise Invalid(
            [replace(mistake, field=labels.get(mistake.field, mistake.field)) for mistake in invalid.mistakes]
        ) from None


def read_effective(file: FilePath) -> JsonObject:
    """An effective document. Raises `Invalid`, with the file's name."""
    document = read_file(file, str(file))
    try:
        return gateway_to_document(validate_gateway(document.value if isinstance(document.value, dict) else {}))
    except Invalid as invalid:
        raise Invalid([document.located(mistake) for mistake in invalid.mistakes]) from None


def render(document: JsonObject, obtained: FilePath = OBTAINED) -> bytes:
    """The serialized node.v1.Gateway of an effective document, digest set. Same input, same bytes.

    obtained: the folder of what the controller obtains by ACME.
    """
    from gatewright_controller.translate import translate_gateway  # here, for Envoy's types take half a second

    return translate_gateway(gateway_from_document(document), obtained).SerializeToString(deterministic=True)


def envoy_listeners(document: JsonObject, obtained: FilePath = OBTAINED) -> JsonObject:
    """What Envoy is given for an effective document, in Envoy's own JSON: its listeners, and by their names the secrets
    that these ask for (`certificate/NAME`, `authority/NAME`), as files.
    """
    from gatewright_controller.translate import translate_gateway
    from gatewright_controller.translate.envoy.messages import LISTENER, document_of

    rendered = translate_gateway(gateway_from_document(document), obtained)
    secrets: JsonObject = {
        f"{envoy_names.CERTIFICATE_SECRET_PREFIX}{certificate.name}": {
            "tls_certificate": {
                "certificate_chain": {"filename": certificate.certificate_file},
                "private_key": {"filename": certificate.key_file},
            }
        }
        for certificate in rendered.certificates
    }
    for authority in rendered.authorities:
        revoked: JsonObject = {"crl": {"filename": authority.revocation_file}} if authority.revocation_file else {}
        context: JsonObject = {"trusted_ca": {"filename": authority.file}, **revoked}
        secrets[f"{envoy_names.AUTHORITY_SECRET_PREFIX}{authority.name}"] = {"validation_context": context}
    return {"listeners": [document_of(LISTENER, listener) for listener in rendered.listeners], "secrets": secrets}


def write_placeholders(document: JsonObject, obtained: FilePath) -> None:
    """Stand-ins for certificates of an effective document that are to be obtained by ACME and were not yet."""
    from gatewright_controller.acme.certificates import wanted_by
    from gatewright_controller.acme.placeholder import write_placeholders

    asked = wanted_by(gateway_from_document(document))
    write_placeholders(obtained, {name: certificate.hosts for name, certificate in asked.items()})


def listening(document: JsonObject) -> list[Listening]:
    """The listeners of an effective document, in its order."""
    spec = gateway_from_document(document).spec
    return [
        Listening(
            listener.name,
            listener.address,
            listener.port,
            listener.protocol,
            listener.protocol == "https",
            listener.http3,
        )
        for listener in spec.listeners
    ]


def bootstrap_values(document: JsonObject) -> BootstrapValues:
    """What of an effective document stands in Envoy's bootstrap."""
    limits = gateway_from_document(document).spec.limits
    return BootstrapValues(
        None if limits.connections is UNSET else limits.connections, None if limits.memory is UNSET else limits.memory
    )


EMPTY: JsonObject = {"apiVersion": "gatewright.dev/v1", "kind": "Gateway"}
FIRST: Path = ("spec", "listeners", 0)


def _access_log(path: object) -> JsonValue:
    return [{"to": "stdout"}] if path == "/dev/stdout" else [{"to": "file", "path": str(path)}]


OPTIONS: Mapping[str, tuple[str, Path, Callable[[object], JsonValue]]] = {
    "host": ("--host", (*FIRST, "address"), str),
    "port": ("--port", (*FIRST, "port"), lambda value: value),
    "access_log": ("--access-log", ("spec", "accessLog", "destinations"), _access_log),
    "access_log_sample": ("--access-log-sample", ("spec", "accessLog", "sample"), lambda value: value),
    "underscored_headers": ("--underscored-headers", ("spec", "underscoredHeaders"), lambda value: value),
    "request_headers_timeout": ("--request-limit", ("spec", "timeouts", "requestHeaders"), lambda value: value),
    "max_connections": ("--max-connections", ("spec", "limits", "connections"), lambda value: value),
    "memory": ("--memory", ("spec", "limits", "memory"), lambda value: value),
    "admin_port": ("--admin-port", ("spec", "admin", "port"), lambda value: value),
    "source": ("source", ("metadata", "source"), str),
}
"""Shorthands of `gatewright run`: how the command line calls them, what they set, and from which value. host and port
are the first listener's; access_log is a file's path, /dev/stdout for the logs; source is the file of `document`."""


def _of_options(options: Mapping[str, object]) -> Iterator[tuple[str, Path, JsonValue]]:
    for name, value in options.items():
        label, path, made = OPTIONS[name]
        yield label, path, made(value)


def _of_environment(environment: Mapping[str, str]) -> Iterator[tuple[str, Path, JsonValue]]:
    """Variables of that prefix that name no field are not ours: an orchestrator adds some of its own."""
    if not any(name.startswith(PREFIX) for name in environment):
        return  # which fields there are takes 10 ms to find out
    for field in settings_fields(GatewaySpec, ("spec",)):
        variable = variable_of(field)
        if variable and (text := environment.get(variable)) is not None:
            yield variable, field.path, _plain(text, field)


def variable_of(field: SettingsField) -> str:
    """The environment variable of a field, "" where it has none: what is in lists and maps has none."""
    return PREFIX + "_".join(field.names).upper() if field.reached and field.kind == "value" else ""


def _plain(text: str, field: SettingsField) -> JsonValue:
    if field.is_text:
        return text
    try:
        return read_yaml(text.encode())
    except Unreadable:
        return text


def _set(document: JsonObject, path: Path, value: JsonValue) -> bool:
    """Whether there is a place for it: if the document is malformed there, that is reported anyway."""
    here: JsonValue = document
    for step, following in itertools.pairwise(path):
        inside: JsonValue = [{"name": "http"}] if isinstance(following, int) else {}
        if isinstance(here, dict):
            here = here.setdefault(str(step), inside)
        elif isinstance(here, list) and isinstance(step, int) and step < len(here):
            here = here[step]
        else:
            return False
    if not isinstance(here, dict):
        return False
    here[str(path[-1])] = value
    return True


def secret_names(document: JsonObject) -> dict[str, list[str]]:
    """Of an effective document, its list of secret names: headers, queryParameters, fields."""
    redaction = gateway_from_document(document).spec.redaction
    return {
        "headers": redaction.all_headers,
        "queryParameters": redaction.all_query_parameters,
        "fields": redaction.all_fields,
    }
