"""The fields that contexts read: messages of the executor, or objects of tests with the same attributes."""

from __future__ import annotations

from typing import Protocol


class RequestFields(Protocol):
    """The fields that a RequestContext reads. `Execution` of python_executor.proto has them."""

    @property
    def request_id(self) -> bytes: ...
    @property
    def method(self) -> bytes: ...
    @property
    def path(self) -> bytes: ...
    @property
    def query(self) -> bytes: ...
    @property
    def scheme(self) -> bytes: ...
    @property
    def authority(self) -> bytes: ...
    @property
    def client_address(self) -> bytes: ...
    @property
    def operation(self) -> bytes: ...
    @property
    def request_headers(self) -> bytes: ...
    @property
    def metadata(self) -> bytes: ...  # of the exchange, as JSON
    @property
    def peer(self) -> bytes: ...  # as JSON
    @property
    def upstream(self) -> bytes: ...
    @property
    def traceparent(self) -> bytes: ...
    @property
    def path_params(self) -> bytes: ...  # name NUL value NUL …, values percent-encoded
    @property
    def upstream_path(self) -> bytes: ...
    @property
    def has_body(self) -> bool: ...
    @property
    def raw_path(self) -> bytes: ...  # empty: the same as path
    @property
    def context_size(self) -> int: ...  # of path, in bytes; 0: the root


class ResponseFields(Protocol):
    """The fields that a ResponseContext reads. `Execution` of python_executor.proto has them."""

    @property
    def status(self) -> int: ...
    @property
    def response_headers(self) -> bytes: ...
