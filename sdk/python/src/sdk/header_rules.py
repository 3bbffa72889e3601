"""The name under which policies import `gatewright.header_rules`: the very same objects."""

from gatewright.header_rules import *  # noqa: F403
