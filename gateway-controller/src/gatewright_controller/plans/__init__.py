"""Sets of resources that are declared together: what applying one would change, and what that means to requests.

Pure, from values to values.
"""

from gatewright_controller.plans.effects import Effects
from gatewright_controller.plans.holders import Holders
from gatewright_controller.plans.plan import ApiPlan, ApiStep, Conflict, Intent, WantedApi
from gatewright_controller.plans.planner import plan_apis

__all__ = ["ApiPlan", "ApiStep", "Conflict", "Effects", "Holders", "Intent", "WantedApi", "plan_apis"]
