"""Certificates and authorities that Gateways take from Secrets and ConfigMaps, as files of their nodes.

A private key goes from the Secret into a Secret beside the nodes, and from there into their files: no document of ours
and no database has it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import ssl
from dataclasses import dataclass, field

from gatewright_documents.values import JsonObject

from gatewright_controller.gateway_api.cluster import GATEWAY_GROUP, Cluster, inner, text
from gatewright_controller.gateway_api.conditions import Problem
from gatewright_controller.gateway_api.contract import FILES_FOLDER
from gatewright_controller.gateway_api.names import document_name

PEM = re.compile(r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")
KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----[A-Za-z0-9+/=\s]+-----END [A-Z ]*PRIVATE KEY-----")


@dataclass
class GatewayFiles:
    """What the nodes of one Gateway need, and what its NodeGateway says of it."""

    content: dict[str, bytes] = field(default_factory=dict, repr=False)
    certificates: dict[str, JsonObject] = field(default_factory=dict)
    authorities: dict[str, JsonObject] = field(default_factory=dict)

    def add_certificate(self, name: str, pair: tuple[bytes, bytes]) -> str:
        """Gives the name back, under which listeners and pools name it."""
        certificate, key = f"{name}.crt", f"{name}.key"
        self.content |= {certificate: pair[0], key: pair[1]}
        paths = {"certificateFile": f"{FILES_FOLDER}/{certificate}", "keyFile": f"{FILES_FOLDER}/{key}"}
        self.certificates[name] = paths
        return name

    def add_authority(self, pem: str) -> str:
        """Gives the name back. The same certificates are the same authority."""
        name = f"authority-{hashlib.sha256(pem.encode()).hexdigest()[:16]}"
        self.content[f"{name}.pem"] = pem.encode()
        self.authorities[name] = {"file": f"{FILES_FOLDER}/{name}.pem"}
        return name


def certificate_name(namespace: str, name: str) -> str:
    """Of a Secret's pair."""
    return document_name(namespace, name)


def read_pair(
    cluster: Cluster, ref: JsonObject, namespace: str, wrong: str
) -> tuple[str, tuple[bytes, bytes]] | Problem:
    """The name and the pair of a Secret. namespace: of the Gateway that refers to it. wrong: the reason where it is not
    a pair."""
    if (text(ref, "group"), text(ref, "kind", "Secret")) != ("", "Secret"):
        shown = f"{text(ref, 'group')}/{text(ref, 'kind', 'Secret')}"
        return Problem(wrong, f"expected a Secret, got {shown}; name a Secret of the type kubernetes.io/tls")
    where, name = text(ref, "namespace", namespace), text(ref, "name")
    if not cluster.permits((GATEWAY_GROUP, "Gateway", namespace), ("", "Secret", where, name)):
        cure = f"write a ReferenceGrant in {where} from Gateways of {namespace} to Secrets"
        return Problem("RefNotPermitted", f"no ReferenceGrant lets this Gateway use the Secret {where}/{name}; {cure}")
    secret = cluster.get("Secret", where, name)
    if secret is None:
        return Problem(wrong, f"there is no Secret {where}/{name}; make it, or correct the name")
    pair = _decoded(secret, "tls.crt"), _decoded(secret, "tls.key")
    if not is_certificate(pair[0]) or not KEY.search(pair[1]):
        expected = "expected a certificate in tls.crt and its key in tls.key, both in PEM"
        return Problem(wrong, f"{expected}, got something else in the Secret {where}/{name}; write them anew")
    return certificate_name(where, name), (pair[0].encode(), pair[1].encode())


def _decoded(secret: JsonObject, name: str) -> str:
    """ "" where it cannot be read as text."""
    try:
        return base64.b64decode(text(inner(secret, "data"), name), validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        return ""


def is_certificate(pem: str) -> bool:
    """Whether there is one in it, and each of them is base64."""
    blocks = PEM.findall(pem)
    try:
        return bool(blocks) and all(ssl.PEM_cert_to_DER_cert(block).startswith(b"\x30") for block in blocks)
    except ValueError:
        return False


def authority_of(cluster: Cluster, ref: JsonObject, namespace: str) -> str | Problem:
    """The certificates of a ConfigMap or Secret that is named in its own namespace, in PEM; or InvalidKind or
    InvalidCACertificateRef."""
    group, kind, name = text(ref, "group"), text(ref, "kind"), text(ref, "name")
    if group or kind not in ("ConfigMap", "Secret"):
        return Problem("InvalidKind", f"expected a ConfigMap or a Secret with a key ca.crt, got {group}/{kind} {name}")
    found = cluster.get(kind, namespace, name)
    if found is None:
        return Problem(
            "InvalidCACertificateRef", f"there is no {kind} {namespace}/{name}; make it, or correct the name"
        )
    pem = text(inner(found, "data"), "ca.crt") if kind == "ConfigMap" else _decoded(found, "ca.crt")
    if not is_certificate(pem):
        expected = "expected certificates in PEM in the key ca.crt"
        return Problem("InvalidCACertificateRef", f"{expected} of the {kind} {namespace}/{name}, got something else")
    return pem
