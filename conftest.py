"""What all tests share: no deadline for a draw of hypothesis, which would say how busy the machine is."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("tests", deadline=None)
settings.load_profile("tests")
