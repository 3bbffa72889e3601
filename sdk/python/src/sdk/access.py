"""The name under which policies import `gatewright.access`: the very same objects."""

from gatewright.access import *  # noqa: F403
