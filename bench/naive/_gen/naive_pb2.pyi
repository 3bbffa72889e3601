from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Values(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, values: _Optional[_Iterable[str]] = ...) -> None: ...

class Message(_message.Message):
    __slots__ = ("headers", "body", "method", "path", "authority", "scheme", "status")
    class HeadersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Values
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Values, _Mapping]] = ...) -> None: ...
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    AUTHORITY_FIELD_NUMBER: _ClassVar[int]
    SCHEME_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    headers: _containers.MessageMap[str, Values]
    body: bytes
    method: str
    path: str
    authority: str
    scheme: str
    status: int
    def __init__(self, headers: _Optional[_Mapping[str, Values]] = ..., body: _Optional[bytes] = ..., method: _Optional[str] = ..., path: _Optional[str] = ..., authority: _Optional[str] = ..., scheme: _Optional[str] = ..., status: _Optional[int] = ...) -> None: ...

class Execution(_message.Message):
    __slots__ = ("id", "policy_name", "policy_version", "phase", "parameters", "metadata", "request_id", "api_name", "operation", "request", "response")
    ID_FIELD_NUMBER: _ClassVar[int]
    POLICY_NAME_FIELD_NUMBER: _ClassVar[int]
    POLICY_VERSION_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    API_NAME_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    id: int
    policy_name: str
    policy_version: str
    phase: str
    parameters: _struct_pb2.Struct
    metadata: _struct_pb2.Struct
    request_id: str
    api_name: str
    operation: str
    request: Message
    response: Message
    def __init__(self, id: _Optional[int] = ..., policy_name: _Optional[str] = ..., policy_version: _Optional[str] = ..., phase: _Optional[str] = ..., parameters: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., metadata: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., request_id: _Optional[str] = ..., api_name: _Optional[str] = ..., operation: _Optional[str] = ..., request: _Optional[_Union[Message, _Mapping]] = ..., response: _Optional[_Union[Message, _Mapping]] = ...) -> None: ...

class Answer(_message.Message):
    __slots__ = ("id", "set_headers", "remove_headers", "body", "status", "metadata", "error")
    class SetHeadersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Values
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Values, _Mapping]] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    SET_HEADERS_FIELD_NUMBER: _ClassVar[int]
    REMOVE_HEADERS_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    id: int
    set_headers: _containers.MessageMap[str, Values]
    remove_headers: _containers.RepeatedScalarFieldContainer[str]
    body: bytes
    status: int
    metadata: _struct_pb2.Struct
    error: str
    def __init__(self, id: _Optional[int] = ..., set_headers: _Optional[_Mapping[str, Values]] = ..., remove_headers: _Optional[_Iterable[str]] = ..., body: _Optional[bytes] = ..., status: _Optional[int] = ..., metadata: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., error: _Optional[str] = ...) -> None: ...
