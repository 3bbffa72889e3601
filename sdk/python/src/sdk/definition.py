"""The name under which policies import `gatewright.definition`: the very same objects."""

from gatewright.definition import *  # noqa: F403
