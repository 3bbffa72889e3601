"""The name under which policies import `gatewright.peer`: the very same objects."""

from gatewright.peer import *  # noqa: F403
