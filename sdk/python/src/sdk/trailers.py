"""The name under which policies import `gatewright.trailers`: the very same objects."""

from gatewright.trailers import *  # noqa: F403
