"""TLS of a listener. Certificates come by SDS, from the engine: no key is in here."""

from __future__ import annotations

from gatewright_documents.values import JsonObject, JsonValue

from gatewright_controller.model import ListenerTls
from gatewright_controller.translate.envoy.messages import extension
from gatewright_controller.translate.envoy.sds import authority_secret, certificate_secret

VERSIONS = {"1.2": "TLSv1_2", "1.3": "TLSv1_3"}
CONTEXT = "extensions.transport_sockets.tls.v3.DownstreamTlsContext"
ALPN = ["h2", "http/1.1"]


def downstream_tls(tls: ListenerTls) -> JsonObject:
    """A transport socket, of TCP."""
    parameters = {"tls_minimum_protocol_version": VERSIONS[tls.min_version], "cipher_suites": tls.ciphers}
    return extension(
        "envoy.transport_sockets.tls",
        CONTEXT,
        **_context(tls, tls_params=parameters, alpn_protocols=ALPN),
        disable_stateless_session_resumption=not _resumes(tls),
        disable_stateful_session_resumption=not _resumes(tls),
    )


def downstream_quic(tls: ListenerTls) -> JsonObject:
    """A transport socket, of UDP. QUIC has TLS 1.3, whose ciphers cannot be chosen.

    Without early data: an attacker who recorded it may send it again (RFC 8446, 8), and no policy
    sees the difference.
    """
    return extension(
        "envoy.transport_sockets.quic",
        "extensions.transport_sockets.quic.v3.QuicDownstreamTransport",
        downstream_tls_context=_context(tls, alpn_protocols=["h3"]),
        enable_early_data=False,
        enable_resumption=_resumes(tls),
    )


def _resumes(tls: ListenerTls) -> bool:
    """Whether sessions go on. Not where clients have certificates: nothing would look at these again, neither at their
    end nor at lists of what was revoked."""
    return tls.session_resumption and not tls.client_certificates


def _context(tls: ListenerTls, **common: JsonValue) -> JsonObject:
    """What a DownstreamTlsContext says on any transport."""
    common["tls_certificate_sds_secret_configs"] = [certificate_secret(name) for name in tls.certificates]
    required = False
    if asked := tls.client_certificates:
        common["validation_context_sds_secret_config"] = authority_secret(asked.authority)
        required = asked.mode == "require"
    return {
        "common_tls_context": common,
        "require_client_certificate": required,
    }
