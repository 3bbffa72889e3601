"""Where Envoy gets certificates and authorities from: the node's engine, over the stream of all other resources.

Listeners and clusters say it in the same words: Envoy keeps a certificate once for each source, and by other words it
is another source. It asks the engine for a name only once, so the second source would wait until its time is over.
"""

from __future__ import annotations

from gatewright_documents.values import JsonObject

from gatewright_controller._gen import envoy_names

FETCH_SECONDS = 5
"""A listener that waits for a certificate must not hold up Envoy's start, and all others, for ever."""
SOURCE: JsonObject = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": f"{FETCH_SECONDS}s"}


def certificate_secret(name: str) -> JsonObject:
    """An SdsSecretConfig: a certificate of the Gateway."""
    return {"name": f"{envoy_names.CERTIFICATE_SECRET_PREFIX}{name}", "sds_config": SOURCE}


def authority_secret(name: str) -> JsonObject:
    """An SdsSecretConfig: an authority of the Gateway."""
    return {"name": f"{envoy_names.AUTHORITY_SECRET_PREFIX}{name}", "sds_config": SOURCE}
