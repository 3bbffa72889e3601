"""The name under which policies import `gatewright.trace`: the very same objects."""

from gatewright.trace import *  # noqa: F403
