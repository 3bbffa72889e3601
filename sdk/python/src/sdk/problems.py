"""The name under which policies import `gatewright.problems`: the very same objects."""

from gatewright.problems import *  # noqa: F403
