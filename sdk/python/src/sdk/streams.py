"""The name under which policies import `gatewright.streams`: the very same objects."""

from gatewright.streams import *  # noqa: F403
