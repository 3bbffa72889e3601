"""The name under which policies import `gatewright.bearer`: the very same objects."""

from gatewright.bearer import *  # noqa: F403
