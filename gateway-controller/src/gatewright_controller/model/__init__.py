"""What people write: the resources, field by field."""

from gatewright_controller.model.api import (
    AccessLog,
    Api,
    ApiSpec,
    Metadata,
    Method,
    Operation,
    from_document,
    to_document,
)
from gatewright_controller.model.common import ResourceName, Strict, Timeout, milliseconds
from gatewright_controller.model.gateway import (
    LINE_BEGINS,
    AccessLogging,
    Compression,
    Destination,
    Gateway,
    GatewayMetadata,
    GatewaySpec,
    Listener,
    ListenerTls,
    Redirect,
    gateway_from_document,
    gateway_to_document,
)
from gatewright_controller.model.policies import OnError, OnErrorByClass, PolicyAttachment
from gatewright_controller.model.upstream import Upstream, UpstreamProtocol, Upstreams

__all__ = [
    "LINE_BEGINS",
    "AccessLog",
    "AccessLogging",
    "Api",
    "ApiSpec",
    "Compression",
    "Destination",
    "Gateway",
    "GatewayMetadata",
    "GatewaySpec",
    "Listener",
    "ListenerTls",
    "Metadata",
    "Method",
    "OnError",
    "OnErrorByClass",
    "Operation",
    "PolicyAttachment",
    "Redirect",
    "ResourceName",
    "Strict",
    "Timeout",
    "Upstream",
    "UpstreamProtocol",
    "Upstreams",
    "from_document",
    "gateway_from_document",
    "gateway_to_document",
    "milliseconds",
    "to_document",
]
