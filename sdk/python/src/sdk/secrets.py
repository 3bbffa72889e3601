"""The name under which policies import `gatewright.secrets`: the very same objects."""

from gatewright.secrets import *  # noqa: F403
