"""The name under which policies import `gatewright.llm`: the very same objects."""

from gatewright.llm import *  # noqa: F403
