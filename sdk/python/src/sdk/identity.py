"""The name under which policies import `gatewright.identity`: the very same objects."""

from gatewright.identity import *  # noqa: F403
