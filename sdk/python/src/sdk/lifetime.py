"""The name under which policies import `gatewright.lifetime`: the very same objects."""

from gatewright.lifetime import *  # noqa: F403
