"""The name under which policies import `gatewright.metrics`: the very same objects."""

from gatewright.metrics import *  # noqa: F403
