"""The name under which policies import `gatewright.cookies`: the very same objects."""

from gatewright.cookies import *  # noqa: F403
