"""The name under which policies import `gatewright.metric_rules`: the very same objects."""

from gatewright.metric_rules import *  # noqa: F403
