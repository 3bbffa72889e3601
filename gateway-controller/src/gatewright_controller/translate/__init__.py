"""Pure: an API and the policies' definitions in, the bundle that a node is sent out; a Gateway in, its listeners out.
Same input, same bytes."""

from gatewright_controller.translate.bundle import Bundle, translate, unserved
from gatewright_controller.translate.gateway import translate_gateway, translate_listener
from gatewright_controller.translate.route_summaries import PolicySummary, RouteSummary, summarize_routes
from gatewright_controller.translate.settings import EdgeSettings

__all__ = [
    "Bundle",
    "EdgeSettings",
    "PolicySummary",
    "RouteSummary",
    "summarize_routes",
    "translate",
    "translate_gateway",
    "translate_listener",
    "unserved",
]
