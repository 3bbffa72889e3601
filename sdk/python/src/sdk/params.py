"""The name under which policies import `gatewright.params`: the very same objects."""

from gatewright.params import *  # noqa: F403
