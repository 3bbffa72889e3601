"""The Gateway of a node: what it listens on, by the Gateway's file, the environment and options.

A child of the supervisor reads it, and renders it in a run without a controller, which would else render it: the
supervisor keeps neither the reader nor Envoy's types in memory.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from gatewright_documents.mistake import Invalid, shown
from gatewright_documents.values import JsonObject

from gatewright_cli.addresses import join_address, url
from gatewright_cli.clients.engine_admin import SecretNames
from gatewright_cli.node.files.run_dir import RunDir
from gatewright_cli.supervision.forked import Conversation

FILE = "gateway.yaml"
"""Beside the manifest."""
DOCUMENT = "gateway.json"
RENDERED = "gateway.binpb"
ACME = "acme"
"""In the run directory: the document for the controller, and its rendered form for the engine."""


@dataclass(frozen=True)
class Listener:
    """One listener of the gateway. http3: on the same port of UDP as well."""

    name: str
    host: str = "127.0.0.1"
    port: int = 8080
    tls: bool = False
    http3: bool = False

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return join_address(self.host, self.port)

    @property
    def url(self) -> str:
        """Where a client on this machine reaches it."""
        return url(self.address, "https" if self.tls else "http")

    def overlaps(self, other: Listener) -> bool:
        """Whether one of the two would accept connections for the other."""
        return self.port == other.port and overlap(self.host, other.host)


@dataclass(frozen=True)
class Gateway:
    """An effective document, and the parts of it that the supervisor needs.

    connections, heap: of Envoy; None if the document leaves them to the node. secret_names: None if unknown.
    file_digest: of the bytes of its file; "" without one.
    """

    document: JsonObject = field(default_factory=lambda: {"apiVersion": "gatewright.dev/v1", "kind": "Gateway"})
    listeners: tuple[Listener, ...] = (Listener("http"),)
    connections: int | None = None
    heap: int | None = None
    secret_names: SecretNames | None = None
    file_digest: str = ""

    @property
    def addresses(self) -> str:
        """HOST:PORT of each listener, for people."""
        return ", ".join(listener.address for listener in self.listeners)

    @property
    def obtained(self) -> list[str]:
        """Names of the certificates that are obtained by ACME."""
        return [name for name, fields in self._fields_of("certificates").items() if "acme" in fields]

    @property
    def source(self) -> str:
        """The file that the document was read from, "" for none."""
        metadata = self.document.get("metadata")
        return str(metadata.get("source", "")) if isinstance(metadata, dict) else ""

    def files(self, kind: str) -> dict[str, dict[str, str]]:
        """The `certificates` or the `authorities` that are files, by name."""
        return {name: fields for name, fields in self._fields_of(kind).items() if "acme" not in fields}

    def _fields_of(self, kind: str) -> dict[str, dict[str, Any]]:
        spec = self.document.get("spec")
        named = spec.get(kind) if isinstance(spec, dict) else None
        return {str(name): dict(fields) for name, fields in named.items()} if isinstance(named, dict) else {}


class GatewayError(Exception):
    """The file, the environment or an option has mistakes; `mistakes` has one sentence for each."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = list(mistakes)


class GatewayReader:
    """A child process that reads a Gateway, and renders it on request, so that both share their imports. Make it before
    there are threads, and close it.
    """

    def __init__(self, file: Path | None, options: Mapping[str, object]) -> None:
        self._child = Conversation(lambda: _read_and_render(file, options))

    def effective(self) -> Gateway:
        """The Gateway of the file (None: none), overridden by the environment and by options. Call it once. Raises
        GatewayError.
        """
        return gateway_from_json(self._child.receive())

    def start_rendering(self, state_dir: Path) -> None:
        """Has the child render the effective Gateway. A certificate that ACME has not obtained yet gets a placeholder
        in the state directory.
        """
        self._child.send(str(state_dir.absolute()))

    def rendered(self) -> str:
        """The rendered Gateway for the engine, in base64. Waits for the rendering, and for the end of the child."""
        rendered: str = self._child.receive()
        self.close()
        return rendered

    def close(self) -> None:
        """Ends the child, and waits for its end."""
        self._child.close()


def _read_and_render(file: Path | None, options: Mapping[str, object]) -> Generator[Any, str, None]:
    effective = effective_as_json(file, options)
    state_dir = yield effective
    yield render_as_base64(effective["document"], Path(state_dir))


def acme_folder(state_dir: Path) -> Path:
    """The folder of certificates by ACME."""
    return state_dir.absolute() / ACME


def write_document(run_dir: RunDir, gateway: Gateway) -> Path:
    """Writes the controller's file into the run directory."""
    return run_dir.write(DOCUMENT, json.dumps(gateway.document, indent=2) + "\n")


def write_rendered(run_dir: RunDir, rendered: str) -> Path:
    """Writes the engine's file into the run directory."""
    return run_dir.write_bytes(RENDERED, base64.b64decode(rendered))


def effective_as_json(file: Path | None, options: Mapping[str, object]) -> dict[str, Any]:
    """The effective Gateway as JSON for `gateway_from_json`, made in a process of its own."""
    from gatewright_controller.gateway import gateway_file
    from gatewright_documents.document import read_file
    from gatewright_documents.yaml_reader import JSON_TYPES

    try:
        read = read_file(file, str(file), JSON_TYPES) if file else None
        written = None if read is None else read.value
        if read is not None and not isinstance(written, dict):  # an empty file too: an editor may be about to fill it
            return {"mistakes": [f"{file}: expected a document with `kind: Gateway`, got {shown(written)}; write one"]}
        assert written is None or isinstance(written, dict)
        try:
            named = {**options, "source": str(file)} if file else dict(options)
            document = gateway_file.effective(written, os.environ, named)
        except Invalid as invalid:
            if read is None:
                raise
            located = [read.located(mistake) if _is_a_field(mistake.field) else mistake for mistake in invalid.mistakes]
            raise Invalid(located) from None
    except Invalid as invalid:
        return {"mistakes": [str(mistake) for mistake in invalid.mistakes]}
    values = gateway_file.bootstrap_values(document)
    listeners = [
        [listener.name, listener.host, listener.port, listener.tls, listener.http3]
        for listener in gateway_file.listening(document)
    ]
    fields = {"document": document, "listeners": listeners, "connections": values.connections, "heap": values.memory}
    names = gateway_file.secret_names(document)
    return {**fields, "secretNames": names, "fileDigest": digest_of(read.text) if read else ""}


def digest_of(text: bytes) -> str:
    """The digest of a file's content, for `Gateway.file_digest`."""
    return hashlib.sha256(text).hexdigest()


def _is_a_field(name: str) -> bool:
    """Whether a mistake names a field of the document, and not an option or a variable."""
    return not name.startswith(("--", "GATEWRIGHT_"))


def gateway_from_json(answer: dict[str, Any]) -> Gateway:
    """The Gateway by the answer of `effective_as_json`. Raises GatewayError."""
    if "mistakes" in answer:
        raise GatewayError(answer["mistakes"])
    listeners = tuple(Listener(*fields) for fields in answer["listeners"])
    names = msgspec.convert(answer["secretNames"], SecretNames)
    return Gateway(answer["document"], listeners, answer["connections"], answer["heap"], names, answer["fileDigest"])


def render_as_base64(document: JsonObject, state_dir: Path) -> str:
    """The rendered document in base64, made in a process of its own. Writes placeholders for ACME."""
    from gatewright_controller.gateway import gateway_file

    gateway_file.write_placeholders(document, acme_folder(state_dir))
    return base64.b64encode(gateway_file.render(document, acme_folder(state_dir))).decode()


def overlap(host: str, other: str) -> bool:
    """Whether a listener on one host would accept connections for the other. Envoy's `::` is IPv6 alone."""
    every = "::" if ":" in host else "0.0.0.0"  # noqa: S104 - compared, not bound
    return (":" in host) == (":" in other) and (host == other or every in (host, other))
