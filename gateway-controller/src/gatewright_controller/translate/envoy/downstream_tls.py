"""TLS of a listener. Certificates come by SDS, from the engine: no key is in here."""

from __future__ import annotations

from gatewright_documents.values import JsonObject

from gatewright_controller.model import ListenerTls
from gatewright_controller.translate.envoy.messages import extension
from gatewright_controller.translate.envoy.sds import authority_secret, certificate_secret

VERSIONS = {"1.2": "TLSv1_2", "1.3": "TLSv1_3"}
ALPN = ["h2", "http/1.1"]


def downstream_tls(tls: ListenerTls) -> JsonObject:
    """A transport socket."""
    common: JsonObject = {
        "tls_params": {"tls_minimum_protocol_version": VERSIONS[tls.min_version], "cipher_suites": tls.ciphers},
        "alpn_protocols": ALPN,
        "tls_certificate_sds_secret_configs": [certificate_secret(name) for name in tls.certificates],
    }
    required = False
    if asked := tls.client_certificates:
        common["validation_context_sds_secret_config"] = authority_secret(asked.authority)
        required = asked.mode == "require"
    return extension(
        "envoy.transport_sockets.tls",
        "extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        common_tls_context=common,
        require_client_certificate=required,
        disable_stateless_session_resumption=not tls.session_resumption,
        disable_stateful_session_resumption=not tls.session_resumption,
    )
