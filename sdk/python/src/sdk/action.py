"""The name under which policies import the check of actions from `gatewright.action`: the very same objects."""

from gatewright.action import ActionError, check

__all__ = ["ActionError", "check"]
