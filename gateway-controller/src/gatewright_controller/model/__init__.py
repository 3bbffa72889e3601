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
from gatewright_controller.model.policies import OnError, OnErrorByClass, PolicyAttachment
from gatewright_controller.model.routing import (
    IDEMPOTENT,
    Answer,
    BackOff,
    Mirror,
    Redirect,
    Retries,
    Rewrite,
    Routing,
    Split,
    Websocket,
)
from gatewright_controller.model.upstream import Upstream, UpstreamProtocol, Upstreams

__all__ = [
    "IDEMPOTENT",
    "AccessLog",
    "Answer",
    "Api",
    "ApiSpec",
    "BackOff",
    "Metadata",
    "Method",
    "Mirror",
    "OnError",
    "OnErrorByClass",
    "Operation",
    "PolicyAttachment",
    "Redirect",
    "ResourceName",
    "Retries",
    "Rewrite",
    "Routing",
    "Split",
    "Strict",
    "Timeout",
    "Upstream",
    "UpstreamProtocol",
    "Upstreams",
    "Websocket",
    "from_document",
    "milliseconds",
    "to_document",
]
