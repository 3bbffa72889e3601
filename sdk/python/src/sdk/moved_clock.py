"""The name under which policies import `gatewright.moved_clock`: the very same objects."""

from gatewright.moved_clock import *  # noqa: F403
