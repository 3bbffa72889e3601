"""Translates a Gateway: listeners as Envoy has them, and the files that these and the clusters of APIs name."""

from __future__ import annotations

import hashlib
from pathlib import Path

from msgspec import UNSET

from gatewright_controller._gen import node_pb2
from gatewright_controller.local.acme_folder import OBTAINED, certificate_file
from gatewright_controller.model import Certificate, Gateway, GatewaySpec, Listener
from gatewright_controller.translate import envoy
from gatewright_controller.translate.store import translate_store
from gatewright_controller.translate.telemetry import translate_telemetry


def translate_gateway(gateway: Gateway, obtained: Path = OBTAINED) -> node_pb2.Gateway:
    """The message of a valid Gateway. Same input, same bytes. obtained: the folder of what is obtained by ACME."""
    spec = gateway.spec
    message = node_pb2.Gateway(
        internal_listeners=sorted(listener.name for listener in spec.listeners if listener.internal),
        listeners=[text for listener in spec.listeners for text in translate_listener(listener, spec)],
        certificates=[
            _certificate(name, certificate, obtained) for name, certificate in sorted(spec.certificates.items())
        ],
        authorities=[
            node_pb2.CertificateAuthority(
                name=name,
                file=authority.file,
                revocation_file="" if authority.revocation_file is UNSET else authority.revocation_file,
            )
            for name, authority in sorted(spec.authorities.items())
        ],
        telemetry=translate_telemetry(spec),
        store=translate_store(spec.store),
    )
    message.answers_challenges = envoy.answers_challenges(spec)
    message.digest = hashlib.sha256(message.SerializeToString(deterministic=True)).hexdigest()
    return message


def translate_listener(listener: Listener, spec: GatewaySpec) -> list[bytes]:
    """Envoy's listeners for a listener of the Gateway, serialized. Same input, same bytes."""
    return [envoy.serialized(message) for message in envoy.listeners(listener, spec)]


def _certificate(name: str, certificate: Certificate, obtained: Path) -> node_pb2.Certificate:
    """A certificate by ACME has certificate and key in one file, which is replaced as a whole."""
    if certificate.acme is not UNSET:
        file = str(certificate_file(obtained, name))
        return node_pb2.Certificate(name=name, certificate_file=file, key_file=file, renewed=True)
    assert certificate.certificate_file, "a valid certificate has files or acme"
    assert certificate.key_file
    return node_pb2.Certificate(name=name, certificate_file=certificate.certificate_file, key_file=certificate.key_file)
