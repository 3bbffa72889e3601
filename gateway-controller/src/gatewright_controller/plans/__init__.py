"""Sets of resources that are declared together: what applying one would change, what that means, and the change.

`planner` and `effects` are pure, from values to values; `applying` has the verbs, over APIs and the Gateway.
"""

from gatewright_controller.plans.applying import ForeignError, MovedError, OfFilesError, Plans, Reviewed
from gatewright_controller.plans.folder import DocumentStatus, FolderDocument, FolderPlan
from gatewright_controller.plans.plan import Intent
from gatewright_controller.plans.shown import Change, ShownPlan

__all__ = [
    "Change",
    "DocumentStatus",
    "FolderDocument",
    "FolderPlan",
    "ForeignError",
    "Intent",
    "MovedError",
    "OfFilesError",
    "Plans",
    "Reviewed",
    "ShownPlan",
]
