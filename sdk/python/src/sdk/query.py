"""The name under which policies import `gatewright.query`: the very same objects."""

from gatewright.query import *  # noqa: F403
