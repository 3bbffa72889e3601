"""A Gateway, finished: listeners as Envoy has them, and the files that these and the clusters of APIs name."""

from __future__ import annotations

import hashlib

from msgspec import UNSET

from gatewright_controller._gen import node_pb2
from gatewright_controller.model import Gateway
from gatewright_controller.translate import envoy


def translate_gateway(gateway: Gateway) -> node_pb2.Gateway:
    """The message of a valid Gateway. Same input, same bytes."""
    spec = gateway.spec
    message = node_pb2.Gateway(
        listeners=[envoy.serialized(envoy.listener(one, spec)) for one in spec.listeners],
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
