"""The name under which policies import `gatewright.background`: the very same objects."""

from gatewright.background import *  # noqa: F403
