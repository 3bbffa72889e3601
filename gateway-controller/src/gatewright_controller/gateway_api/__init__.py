"""Kubernetes' Gateway API, translated to resources of Gatewright and to statuses. Pure: no client, no clock, no store.

`translate` makes documents of what the API server has, and drafts of statuses; `complete` makes these whole once it is
known what nodes run.
"""

from gatewright_controller.gateway_api.contract import (
    CONTROLLER_NAME,
    FILES_FOLDER,
    KINDS,
    NODE_LABEL,
    Deployed,
    GatewayNodes,
    GatewayPort,
    Key,
    Objects,
    Translation,
    WatchedKind,
)
from gatewright_controller.gateway_api.statuses import complete
from gatewright_controller.gateway_api.translation import translate

__all__ = [
    "CONTROLLER_NAME",
    "FILES_FOLDER",
    "KINDS",
    "NODE_LABEL",
    "Deployed",
    "GatewayNodes",
    "GatewayPort",
    "Key",
    "Objects",
    "Translation",
    "WatchedKind",
    "complete",
    "translate",
]
