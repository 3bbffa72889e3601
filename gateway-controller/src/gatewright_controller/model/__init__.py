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
from gatewright_controller.model.matches import HeaderMatch, QueryMatch
from gatewright_controller.model.policies import OnError, OnErrorByClass, PolicyAttachment
from gatewright_controller.model.upstream import Upstream, UpstreamProtocol, Upstreams

__all__ = [
    "AccessLog",
    "Api",
    "ApiSpec",
    "HeaderMatch",
    "Metadata",
    "Method",
    "OnError",
    "OnErrorByClass",
    "Operation",
    "PolicyAttachment",
    "QueryMatch",
    "ResourceName",
    "Strict",
    "Timeout",
    "Upstream",
    "UpstreamProtocol",
    "Upstreams",
    "from_document",
    "milliseconds",
    "to_document",
]
