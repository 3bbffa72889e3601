"""The name under which policies import `gatewright.headers`: the very same objects."""

from gatewright.headers import *  # noqa: F403
