"""The name under which policies import `gatewright.store`: the very same objects."""

from gatewright.store import *  # noqa: F403
