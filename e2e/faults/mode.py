"""Where the policy engine of the gateways runs that the rows break: `GATEWRIGHT_ENGINE`, as for `gatewright run`."""

from __future__ import annotations

import os

IN_ENVOY = os.environ.get("GATEWRIGHT_ENGINE") == "in-envoy"
"""The engine is inside Envoy, and has Envoy's pid in status.json: a fault of one is a fault of both."""
