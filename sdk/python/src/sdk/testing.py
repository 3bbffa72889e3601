"""The name under which policies import `gatewright.testing`: the very same objects."""

from gatewright.testing import *  # noqa: F403
