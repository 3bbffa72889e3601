"""Gateway API, as a controller of Kubernetes: the objects are watched, what `gateway_api` makes of them is stored, and
what nodes make of that becomes statuses.

Only the controller that has the Lease writes, be it to the store or to Kubernetes.
"""

from gatewright_controller.kubernetes.api_access import open_access
from gatewright_controller.kubernetes.metrics import GatewayApiMetrics
from gatewright_controller.kubernetes.node_template import read_template
from gatewright_controller.kubernetes.running import GatewayApi, Place

__all__ = ["GatewayApi", "GatewayApiMetrics", "Place", "open_access", "read_template"]
