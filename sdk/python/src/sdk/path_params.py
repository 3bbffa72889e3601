"""The name under which policies import `gatewright.path_params`: the very same objects."""

from gatewright.path_params import *  # noqa: F403
