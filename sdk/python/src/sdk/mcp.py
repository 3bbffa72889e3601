"""The name under which policies import `gatewright.mcp`: the very same objects."""

from gatewright.mcp import *  # noqa: F403
