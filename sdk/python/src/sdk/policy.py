"""The name under which policies import `gatewright.policy`: the very same objects."""

from gatewright.policy import *  # noqa: F403
