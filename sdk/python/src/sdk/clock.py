"""The name under which policies import `gatewright.clock`: the very same objects."""

from gatewright.clock import *  # noqa: F403
