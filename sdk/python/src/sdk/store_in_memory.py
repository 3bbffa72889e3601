"""The name under which policies import `gatewright.store_in_memory`: the very same objects."""

from gatewright.store_in_memory import *  # noqa: F403
