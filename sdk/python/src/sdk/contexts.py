"""The name under which policies import `gatewright.contexts`: the very same objects."""

from gatewright.contexts import *  # noqa: F403
