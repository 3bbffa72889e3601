"""The name under which policies import `gatewright.charsets`: the very same objects."""

from gatewright.charsets import *  # noqa: F403
