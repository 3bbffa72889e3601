"""A Gateway, finished: listeners as Envoy has them, and the files that these and the clusters of APIs name."""

from __future__ import annotations

import hashlib

from msgspec import UNSET

from gatewright_controller._gen import node_pb2
from gatewright_controller.model import Gateway, GatewaySpec, Listener
from gatewright_controller.translate import envoy


def translate_gateway(gateway: Gateway) -> node_pb2.Gateway:
    """The message of a valid Gateway. Same input, same bytes."""
    spec = gateway.spec
    message = node_pb2.Gateway(
        listeners=[text for one in spec.listeners for text in translate_listener(one, spec)],
        certificates=[
            node_pb2.Certificate(name=name, certificate_file=one.certificate_file, key_file=one.key_file)
            for name, one in sorted(spec.certificates.items())
        ],
        authorities=[
            node_pb2.CertificateAuthority(
                name=name,
                file=one.file,
                revocation_file="" if one.revocation_file is UNSET else one.revocation_file,
            )
            for name, one in sorted(spec.authorities.items())
        ],
    )
    message.digest = hashlib.sha256(message.SerializeToString(deterministic=True)).hexdigest()
    return message


def translate_listener(one: Listener, spec: GatewaySpec) -> list[bytes]:
    """What Envoy listens with for a listener, serialized. Same input, same bytes."""
    return [envoy.serialized(each) for each in envoy.listeners(one, spec)]
