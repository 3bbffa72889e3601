"""The name under which policies import `gatewright.recording`: the very same objects."""

from gatewright.recording import *  # noqa: F403
