"""The name under which policies import `gatewright.policy_call`: the very same objects."""

from gatewright.policy_call import *  # noqa: F403
