"""Parses the URL by which an operator names a controller."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from gatewright_controller.local.loopback import is_loopback

EXAMPLE = "expected a URL such as https://gateway.example:9443 or http://127.0.0.1:9090"


class ControllerUrlError(ValueError):
    """The message says what was expected, and what the URL was."""


@dataclass(frozen=True)
class ControllerUrl:
    """text: scheme, host and port, without a slash at the end. encrypted: whether it is https."""

    text: str
    host: str
    encrypted: bool

    @property
    def is_here(self) -> bool:
        """Whether the controller, or a tunnel to it, is on this machine."""
        return is_loopback(self.host) or self.host.endswith(".localhost")


def read_controller_url(text: str) -> ControllerUrl:
    """Raises ControllerUrlError for all but an http or https URL of a host and a port."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ControllerUrlError(f"{EXAMPLE}, got {text!r}: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ControllerUrlError(f"{EXAMPLE}, got {text!r}")
    if parts.username is not None or parts.password is not None:
        cure = "its token is in the file that GATEWRIGHT_CONTROLLER_TOKEN_FILE names"
        raise ControllerUrlError(f"expected a URL without user and password, got one with: {cure}")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ControllerUrlError(f"expected a URL without a path, a query and a fragment, got {text!r}: remove them")
    return ControllerUrl(f"{parts.scheme}://{parts.netloc}", parts.hostname, parts.scheme == "https")
