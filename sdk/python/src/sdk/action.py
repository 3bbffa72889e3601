"""The name under which policies import `gatewright.action`: the very same objects."""

from gatewright.action import *  # noqa: F403
