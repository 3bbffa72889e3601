"""Attachments that tests of several rooms put into their APIs."""

from __future__ import annotations

from e2e.kit.gateway import attach

GO_HEADERS = attach(
    "add-headers",
    {
        "requestHeaders": [{"name": "X-Go-Policy", "value": "go"}],
        "responseHeaders": [{"name": "X-Go-Policy", "value": "go"}],
    },
)
"""A Go policy that sets x-go-policy in requests and responses."""

SAMPLE = [attach("log-message"), attach("add-python-header"), GO_HEADERS]
"""Go, Python, Go."""
