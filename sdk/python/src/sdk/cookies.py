"""The name under which policies import `set_cookie` from `gatewright.cookies`; `Cookies` is in `sdk.policy`."""

from gatewright.cookies import set_cookie

__all__ = ["set_cookie"]
