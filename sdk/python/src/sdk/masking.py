"""The name under which policies import `gatewright.masking`: the very same objects."""

from gatewright.masking import *  # noqa: F403
