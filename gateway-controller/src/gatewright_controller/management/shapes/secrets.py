"""Keys that encrypt Secrets."""

from __future__ import annotations

from gatewright_controller.management.shapes.answer import Answered


class SecretRotation(Answered, frozen=True):
    """What a rotation has done. Documents are those of Secrets, and of each write in their history."""

    key: str
    """The id of the key that encrypts from now on."""
    rewritten: int
    """Documents with values that are encrypted by it now, and were not before."""
    left: int
    """Documents that were encrypted by it already, or have values that no key decrypts."""
    unreadable: list[str]
    """Names of Secrets that no key of the controller's decrypts, or a past write of which."""
