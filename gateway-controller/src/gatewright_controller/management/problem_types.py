"""Types of problems (RFC 9457) that other programs act upon; all others are `about:blank`."""

from __future__ import annotations

NO_DATABASE = "urn:gatewright:problem:no-database"
"""The controller cannot open its database, or has lost it, and tries again; `detail` is the reason with its cure."""
