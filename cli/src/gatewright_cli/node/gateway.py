"""What a node listens on: a Gateway as its file, the environment and options say together.

Found out and rendered in a child of the supervisor, which would else hold Envoy's types for as long as it runs.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from gatewright_documents.mistake import Invalid, shown
from gatewright_documents.values import JsonObject

from gatewright_cli.node.line_redaction import SecretNames
from gatewright_cli.node.ports import join_address, url
from gatewright_cli.node.run_dir import RunDir
from gatewright_cli.supervision.forked import Conversation

FILE = "gateway.yaml"
"""Beside the manifest."""
DOCUMENT = "gateway.json"
RENDERED = "gateway.binpb"
ACME = "acme"
"""In the run directory: the document for the controller, and what it is to a node's engine."""


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
        """Whether one of the two takes what is meant for the other."""
        return self.port == other.port and overlap(self.host, other.host)


@dataclass(frozen=True)
class Gateway:
    """An effective document: all that there is to say, and what of it the supervisor needs.

    connections, heap: of Envoy, None where the document leaves them to the node. secret_names: None where nobody has
    found them out.
    """

    document: JsonObject = field(default_factory=lambda: {"apiVersion": "gatewright.dev/v1", "kind": "Gateway"})
    listeners: tuple[Listener, ...] = (Listener("http"),)
    connections: int | None = None
    heap: int | None = None
    secret_names: SecretNames | None = None

    @property
    def addresses(self) -> str:
        """HOST:PORT of each listener, for people."""
        return ", ".join(one.address for one in self.listeners)

    @property
    def obtained(self) -> list[str]:
        """Names of the certificates that are obtained by ACME."""
        return [name for name, one in self._named("certificates").items() if "acme" in one]

    @property
    def source(self) -> str:
        """The file that it was read from, "" for none."""
        metadata = self.document.get("metadata")
        return str(metadata.get("source", "")) if isinstance(metadata, dict) else ""

    def files(self, kind: str) -> dict[str, dict[str, str]]:
        """The `certificates` or the `authorities` that are files, by name."""
        return {name: one for name, one in self._named(kind).items() if "acme" not in one}

    def _named(self, kind: str) -> dict[str, dict[str, Any]]:
        spec = self.document.get("spec")
        found = spec.get(kind) if isinstance(spec, dict) else None
        return {str(name): dict(one) for name, one in found.items()} if isinstance(found, dict) else {}


class GatewayError(Exception):
    """The file, the environment or an option says something wrong; `mistakes` has one sentence for each."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = list(mistakes)


class GatewayReader:
    """A child that reads a Gateway, and renders it when it is asked: what both import is imported once. Make it before
    there are threads, and close it.
    """

    def __init__(self, file: Path | None, options: Mapping[str, object]) -> None:
        self._child = Conversation(lambda: _read_and_render(file, options))

    def effective(self) -> Gateway:
        """The Gateway of the file (None: none), under the environment, under options. Once. Raises GatewayError."""
        return told(self._child.receive())

    def start_rendering(self, state_dir: Path) -> None:
        """Of the effective Gateway. What is to be obtained by ACME, and was not yet, has a placeholder in the state
        directory then."""
        self._child.send(str(state_dir.absolute()))

    def rendered(self) -> str:
        """It, as engines take it, in base64. Waits for it, a quarter of a second, and for the end of the child."""
        rendered: str = self._child.receive()
        self.close()
        return rendered

    def close(self) -> None:
        """Waits for the child to end, whatever it has been asked."""
        self._child.close()


def _read_and_render(file: Path | None, options: Mapping[str, object]) -> Generator[Any, str, None]:
    found = tell_effective(file, options)
    state_dir = yield found
    yield tell_rendered(found["document"], Path(state_dir))


def acme_folder(state_dir: Path) -> Path:
    """Of what is obtained by ACME."""
    return state_dir.absolute() / ACME


def write_document(run_dir: RunDir, gateway: Gateway) -> Path:
    """The controller's file, in the run directory."""
    return run_dir.write(DOCUMENT, json.dumps(gateway.document, indent=2) + "\n")


def write_rendered(run_dir: RunDir, rendered: str) -> Path:
    """The engine's file, in the run directory."""
    return run_dir.write_bytes(RENDERED, base64.b64decode(rendered))


def tell_effective(file: Path | None, options: Mapping[str, object]) -> dict[str, Any]:
    """For a process of its own: as JSON, what `told` reads."""
    from gatewright_controller.gateway import gateway_file
    from gatewright_documents.document import read_file
    from gatewright_documents.yaml_reader import JSON_TYPES

    try:
        read = read_file(file, str(file), JSON_TYPES) if file else None
        written = None if read is None else read.value
        if read is not None and not isinstance(written, dict):  # an empty one too: an editor may be about to fill it
            return {"mistakes": [f"{file}: expected a document with `kind: Gateway`, got {shown(written)}; write one"]}
        assert written is None or isinstance(written, dict)
        try:
            named = {**options, "source": str(file)} if file else dict(options)
            document = gateway_file.effective(written, os.environ, named)
        except Invalid as invalid:
            if read is None:
                raise
            raise Invalid([read.located(one) if _is_a_field(one.field) else one for one in invalid.mistakes]) from None
    except Invalid as invalid:
        return {"mistakes": [str(one) for one in invalid.mistakes]}
    values = gateway_file.bootstrap_values(document)
    listeners = [[one.name, one.host, one.port, one.tls, one.http3] for one in gateway_file.listening(document)]
    found = {"document": document, "listeners": listeners, "connections": values.connections, "heap": values.memory}
    return {**found, "secretNames": gateway_file.secret_names(document)}


def _is_a_field(name: str) -> bool:
    """Of the document; not an option or a variable, under whose name a mistake is told as well."""
    return not name.startswith(("--", "GATEWRIGHT_"))


def told(found: dict[str, Any]) -> Gateway:
    """The Gateway that another process has found out. Raises GatewayError."""
    if "mistakes" in found:
        raise GatewayError(found["mistakes"])
    listeners = tuple(Listener(*one) for one in found["listeners"])
    names = msgspec.convert(found["secretNames"], SecretNames)
    return Gateway(found["document"], listeners, found["connections"], found["heap"], names)


def tell_rendered(document: JsonObject, state_dir: Path) -> str:
    """For a process of its own: the document rendered, in base64, and placeholders written."""
    from gatewright_controller.gateway import gateway_file

    gateway_file.write_placeholders(document, acme_folder(state_dir))
    return base64.b64encode(gateway_file.render(document, acme_folder(state_dir))).decode()


def overlap(one: str, other: str) -> bool:
    """Whether what listens on one host takes what is meant for the other. Envoy's `::` is IPv6 alone."""
    every = "::" if ":" in one else "0.0.0.0"  # noqa: S104 - compared, not bound
    return (":" in one) == (":" in other) and (one == other or every in (one, other))
