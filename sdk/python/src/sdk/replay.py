"""The name under which policies import `gatewright.replay`: the very same objects."""

from gatewright.replay import *  # noqa: F403
