"""What HTTP/3 needs besides what listeners have anyway."""

from __future__ import annotations

from gatewright_documents.values import JsonObject

from gatewright_controller.model import Limits, Listener, Timeouts, milliseconds
from gatewright_controller.translate.envoy.messages import extension, seconds

STREAM_WINDOW_BYTES, CONNECTION_WINDOW_BYTES = 64 << 10, 1 << 20
"""As over HTTP/2."""

SILENT_SECONDS, PROBED_SECONDS = 300, 60
"""Nothing ends a connection of UDP but a packet that says so, or silence. A client with a request is asked for a sign
of life, so that an answer may pause for longer."""

CONNECTIONS = 50_000
"""Of a listener, where neither it nor the Gateway says how many: what the bootstrap counts is TCP's alone."""

ADVERTISED_SECONDS = 86_400
"""How long clients may remember that there is HTTP/3: one that finds none goes on over TCP."""


def codec() -> JsonObject:
    """Of a connection manager. Without allow_extended_connect, as over HTTP/2. Signs of life are asked for as is said
    here, whatever the listener says; streams and windows are as the listener says."""
    probes = {"max_interval": f"{PROBED_SECONDS}s", "initial_interval": f"{PROBED_SECONDS}s"}
    return {
        "codec_type": "HTTP3",
        "http3_protocol_options": {"quic_protocol_options": {"connection_keepalive": probes}},
    }


def udp_listener(limits: Limits, timeouts: Timeouts) -> JsonObject:
    """Other settings of QUIC keep Envoy's defaults, which are those that it recommends."""
    protocol: JsonObject = {
        "max_concurrent_streams": limits.concurrent_streams,
        "initial_stream_window_size": STREAM_WINDOW_BYTES,
        "initial_connection_window_size": CONNECTION_WINDOW_BYTES,
    }
    options: JsonObject = {
        "quic_protocol_options": protocol,
        "idle_timeout": f"{SILENT_SECONDS}s",
        "crypto_handshake_timeout": seconds(milliseconds(timeouts.handshake)),
    }
    return {"quic_options": options, "downstream_socket_config": {"prefer_gro": True}}


def alt_svc(listener: Listener) -> JsonObject:
    """An HTTP filter, of TCP. The first one: what others answer says so as well. Upstreams are not asked."""
    value = f'h3=":{listener.port}"; ma={ADVERTISED_SECONDS}'
    header = {"header": {"key": "alt-svc", "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
    return extension(
        "envoy.filters.http.header_mutation",
        "extensions.filters.http.header_mutation.v3.HeaderMutation",
        mutations={"response_mutations": [{"append": header}]},
    )
