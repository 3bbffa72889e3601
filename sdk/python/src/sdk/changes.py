"""The name under which policies import `gatewright.changes`: the very same objects."""

from gatewright.changes import *  # noqa: F403
