"""The name under which policies import `gatewright.metadata`: the very same objects."""

from gatewright.metadata import *  # noqa: F403
