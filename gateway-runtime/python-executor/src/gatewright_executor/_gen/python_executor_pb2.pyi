from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Phase(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PHASE_UNSPECIFIED: _ClassVar[Phase]
    PHASE_REQUEST: _ClassVar[Phase]
    PHASE_RESPONSE: _ClassVar[Phase]
    PHASE_REQUEST_STREAM: _ClassVar[Phase]
    PHASE_RESPONSE_STREAM: _ClassVar[Phase]

class FailureClass(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FAILURE_CLASS_UNSPECIFIED: _ClassVar[FailureClass]
    FAILURE_CLASS_TIMEOUT: _ClassVar[FailureClass]
    FAILURE_CLASS_OVERLOADED: _ClassVar[FailureClass]
    FAILURE_CLASS_UNAVAILABLE: _ClassVar[FailureClass]
    FAILURE_CLASS_CRASHED: _ClassVar[FailureClass]
    FAILURE_CLASS_EXCEPTION: _ClassVar[FailureClass]
    FAILURE_CLASS_BAD_ACTION: _ClassVar[FailureClass]
    FAILURE_CLASS_BODY_TOO_LARGE: _ClassVar[FailureClass]
    FAILURE_CLASS_BAD_BODY: _ClassVar[FailureClass]

class StoreOperation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STORE_OPERATION_UNSPECIFIED: _ClassVar[StoreOperation]
    STORE_OPERATION_GET: _ClassVar[StoreOperation]
    STORE_OPERATION_SET: _ClassVar[StoreOperation]
    STORE_OPERATION_INCREMENT: _ClassVar[StoreOperation]
    STORE_OPERATION_EXPIRE: _ClassVar[StoreOperation]
    STORE_OPERATION_DELETE: _ClassVar[StoreOperation]
    STORE_OPERATION_THROTTLE: _ClassVar[StoreOperation]
    STORE_OPERATION_RESERVE: _ClassVar[StoreOperation]
    STORE_OPERATION_SETTLE: _ClassVar[StoreOperation]

class StoreOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STORE_OUTCOME_UNSPECIFIED: _ClassVar[StoreOutcome]
    STORE_OUTCOME_UNAVAILABLE: _ClassVar[StoreOutcome]
    STORE_OUTCOME_INVALID: _ClassVar[StoreOutcome]
    STORE_OUTCOME_FULL: _ClassVar[StoreOutcome]
PHASE_UNSPECIFIED: Phase
PHASE_REQUEST: Phase
PHASE_RESPONSE: Phase
PHASE_REQUEST_STREAM: Phase
PHASE_RESPONSE_STREAM: Phase
FAILURE_CLASS_UNSPECIFIED: FailureClass
FAILURE_CLASS_TIMEOUT: FailureClass
FAILURE_CLASS_OVERLOADED: FailureClass
FAILURE_CLASS_UNAVAILABLE: FailureClass
FAILURE_CLASS_CRASHED: FailureClass
FAILURE_CLASS_EXCEPTION: FailureClass
FAILURE_CLASS_BAD_ACTION: FailureClass
FAILURE_CLASS_BODY_TOO_LARGE: FailureClass
FAILURE_CLASS_BAD_BODY: FailureClass
STORE_OPERATION_UNSPECIFIED: StoreOperation
STORE_OPERATION_GET: StoreOperation
STORE_OPERATION_SET: StoreOperation
STORE_OPERATION_INCREMENT: StoreOperation
STORE_OPERATION_EXPIRE: StoreOperation
STORE_OPERATION_DELETE: StoreOperation
STORE_OPERATION_THROTTLE: StoreOperation
STORE_OPERATION_RESERVE: StoreOperation
STORE_OPERATION_SETTLE: StoreOperation
STORE_OUTCOME_UNSPECIFIED: StoreOutcome
STORE_OUTCOME_UNAVAILABLE: StoreOutcome
STORE_OUTCOME_INVALID: StoreOutcome
STORE_OUTCOME_FULL: StoreOutcome

class RequestFrame(_message.Message):
    __slots__ = ("configure", "executions", "cancel", "timed_out", "close", "pieces", "credit", "store_results")
    CONFIGURE_FIELD_NUMBER: _ClassVar[int]
    EXECUTIONS_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    TIMED_OUT_FIELD_NUMBER: _ClassVar[int]
    CLOSE_FIELD_NUMBER: _ClassVar[int]
    PIECES_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    STORE_RESULTS_FIELD_NUMBER: _ClassVar[int]
    configure: _containers.RepeatedCompositeFieldContainer[ConfigureInstance]
    executions: _containers.RepeatedCompositeFieldContainer[Execution]
    cancel: _containers.RepeatedScalarFieldContainer[int]
    timed_out: _containers.RepeatedCompositeFieldContainer[TimedOut]
    close: _containers.RepeatedScalarFieldContainer[int]
    pieces: _containers.RepeatedCompositeFieldContainer[Piece]
    credit: _containers.RepeatedCompositeFieldContainer[Credit]
    store_results: _containers.RepeatedCompositeFieldContainer[StoreResult]
    def __init__(self, configure: _Optional[_Iterable[_Union[ConfigureInstance, _Mapping]]] = ..., executions: _Optional[_Iterable[_Union[Execution, _Mapping]]] = ..., cancel: _Optional[_Iterable[int]] = ..., timed_out: _Optional[_Iterable[_Union[TimedOut, _Mapping]]] = ..., close: _Optional[_Iterable[int]] = ..., pieces: _Optional[_Iterable[_Union[Piece, _Mapping]]] = ..., credit: _Optional[_Iterable[_Union[Credit, _Mapping]]] = ..., store_results: _Optional[_Iterable[_Union[StoreResult, _Mapping]]] = ...) -> None: ...

class Piece(_message.Message):
    __slots__ = ("id", "data", "last", "trailers")
    ID_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    TRAILERS_FIELD_NUMBER: _ClassVar[int]
    id: int
    data: bytes
    last: bool
    trailers: bytes
    def __init__(self, id: _Optional[int] = ..., data: _Optional[bytes] = ..., last: _Optional[bool] = ..., trailers: _Optional[bytes] = ...) -> None: ...

class Credit(_message.Message):
    __slots__ = ("id", "bytes")
    ID_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    id: int
    bytes: int
    def __init__(self, id: _Optional[int] = ..., bytes: _Optional[int] = ...) -> None: ...

class TimedOut(_message.Message):
    __slots__ = ("id", "instance", "phase", "timeout_us", "request_id", "operation")
    ID_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_US_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    id: int
    instance: int
    phase: Phase
    timeout_us: int
    request_id: bytes
    operation: bytes
    def __init__(self, id: _Optional[int] = ..., instance: _Optional[int] = ..., phase: _Optional[_Union[Phase, str]] = ..., timeout_us: _Optional[int] = ..., request_id: _Optional[bytes] = ..., operation: _Optional[bytes] = ...) -> None: ...

class ConfigureInstance(_message.Message):
    __slots__ = ("instance", "policy_name", "policy_version", "parameters", "system_parameters", "api_name", "max_concurrency", "prepare_timeout_ms", "api_version", "instance_id", "operation")
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    POLICY_NAME_FIELD_NUMBER: _ClassVar[int]
    POLICY_VERSION_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    SYSTEM_PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    API_NAME_FIELD_NUMBER: _ClassVar[int]
    MAX_CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    PREPARE_TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    API_VERSION_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    instance: int
    policy_name: str
    policy_version: str
    parameters: bytes
    system_parameters: bytes
    api_name: str
    max_concurrency: int
    prepare_timeout_ms: int
    api_version: str
    instance_id: str
    operation: str
    def __init__(self, instance: _Optional[int] = ..., policy_name: _Optional[str] = ..., policy_version: _Optional[str] = ..., parameters: _Optional[bytes] = ..., system_parameters: _Optional[bytes] = ..., api_name: _Optional[str] = ..., max_concurrency: _Optional[int] = ..., prepare_timeout_ms: _Optional[int] = ..., api_version: _Optional[str] = ..., instance_id: _Optional[str] = ..., operation: _Optional[str] = ...) -> None: ...

class Execution(_message.Message):
    __slots__ = ("id", "instance", "phase", "timeout_us", "request_id", "method", "path", "query", "scheme", "authority", "client_address", "operation", "request_headers", "request_body", "status", "response_headers", "response_body", "metadata", "peer", "upstream", "traceparent", "path_params", "has_body", "raw_path", "context_size", "upstream_path", "source")
    ID_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_US_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    SCHEME_FIELD_NUMBER: _ClassVar[int]
    AUTHORITY_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_HEADERS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_BODY_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_HEADERS_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_BODY_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    PEER_FIELD_NUMBER: _ClassVar[int]
    UPSTREAM_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    PATH_PARAMS_FIELD_NUMBER: _ClassVar[int]
    HAS_BODY_FIELD_NUMBER: _ClassVar[int]
    RAW_PATH_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_SIZE_FIELD_NUMBER: _ClassVar[int]
    UPSTREAM_PATH_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    id: int
    instance: int
    phase: Phase
    timeout_us: int
    request_id: bytes
    method: bytes
    path: bytes
    query: bytes
    scheme: bytes
    authority: bytes
    client_address: bytes
    operation: bytes
    request_headers: bytes
    request_body: bytes
    status: int
    response_headers: bytes
    response_body: bytes
    metadata: bytes
    peer: bytes
    upstream: bytes
    traceparent: bytes
    path_params: bytes
    has_body: bool
    raw_path: bytes
    context_size: int
    upstream_path: bytes
    source: int
    def __init__(self, id: _Optional[int] = ..., instance: _Optional[int] = ..., phase: _Optional[_Union[Phase, str]] = ..., timeout_us: _Optional[int] = ..., request_id: _Optional[bytes] = ..., method: _Optional[bytes] = ..., path: _Optional[bytes] = ..., query: _Optional[bytes] = ..., scheme: _Optional[bytes] = ..., authority: _Optional[bytes] = ..., client_address: _Optional[bytes] = ..., operation: _Optional[bytes] = ..., request_headers: _Optional[bytes] = ..., request_body: _Optional[bytes] = ..., status: _Optional[int] = ..., response_headers: _Optional[bytes] = ..., response_body: _Optional[bytes] = ..., metadata: _Optional[bytes] = ..., peer: _Optional[bytes] = ..., upstream: _Optional[bytes] = ..., traceparent: _Optional[bytes] = ..., path_params: _Optional[bytes] = ..., has_body: _Optional[bool] = ..., raw_path: _Optional[bytes] = ..., context_size: _Optional[int] = ..., upstream_path: _Optional[bytes] = ..., source: _Optional[int] = ...) -> None: ...

class ReplyFrame(_message.Message):
    __slots__ = ("hello", "frames_acknowledged", "actions", "instances", "pieces", "credit", "spans", "store_calls", "located")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    FRAMES_ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    ACTIONS_FIELD_NUMBER: _ClassVar[int]
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    PIECES_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    SPANS_FIELD_NUMBER: _ClassVar[int]
    STORE_CALLS_FIELD_NUMBER: _ClassVar[int]
    LOCATED_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    frames_acknowledged: int
    actions: _containers.RepeatedCompositeFieldContainer[Action]
    instances: _containers.RepeatedCompositeFieldContainer[InstanceStatus]
    pieces: _containers.RepeatedCompositeFieldContainer[Piece]
    credit: _containers.RepeatedCompositeFieldContainer[Credit]
    spans: _containers.RepeatedScalarFieldContainer[bytes]
    store_calls: _containers.RepeatedCompositeFieldContainer[StoreCall]
    located: _containers.RepeatedCompositeFieldContainer[Located]
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., frames_acknowledged: _Optional[int] = ..., actions: _Optional[_Iterable[_Union[Action, _Mapping]]] = ..., instances: _Optional[_Iterable[_Union[InstanceStatus, _Mapping]]] = ..., pieces: _Optional[_Iterable[_Union[Piece, _Mapping]]] = ..., credit: _Optional[_Iterable[_Union[Credit, _Mapping]]] = ..., spans: _Optional[_Iterable[bytes]] = ..., store_calls: _Optional[_Iterable[_Union[StoreCall, _Mapping]]] = ..., located: _Optional[_Iterable[_Union[Located, _Mapping]]] = ...) -> None: ...

class Located(_message.Message):
    __slots__ = ("id", "file", "line")
    ID_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    LINE_FIELD_NUMBER: _ClassVar[int]
    id: int
    file: str
    line: int
    def __init__(self, id: _Optional[int] = ..., file: _Optional[str] = ..., line: _Optional[int] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("pid", "python_version", "sdk_version", "policies", "workers")
    PID_FIELD_NUMBER: _ClassVar[int]
    PYTHON_VERSION_FIELD_NUMBER: _ClassVar[int]
    SDK_VERSION_FIELD_NUMBER: _ClassVar[int]
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    pid: int
    python_version: str
    sdk_version: str
    policies: _containers.RepeatedCompositeFieldContainer[LoadedPolicy]
    workers: int
    def __init__(self, pid: _Optional[int] = ..., python_version: _Optional[str] = ..., sdk_version: _Optional[str] = ..., policies: _Optional[_Iterable[_Union[LoadedPolicy, _Mapping]]] = ..., workers: _Optional[int] = ...) -> None: ...

class LoadedPolicy(_message.Message):
    __slots__ = ("name", "version", "on_request", "on_response", "failure", "on_request_stream", "on_response_stream")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ON_REQUEST_FIELD_NUMBER: _ClassVar[int]
    ON_RESPONSE_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    ON_REQUEST_STREAM_FIELD_NUMBER: _ClassVar[int]
    ON_RESPONSE_STREAM_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    on_request: bool
    on_response: bool
    failure: Failure
    on_request_stream: bool
    on_response_stream: bool
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., on_request: _Optional[bool] = ..., on_response: _Optional[bool] = ..., failure: _Optional[_Union[Failure, _Mapping]] = ..., on_request_stream: _Optional[bool] = ..., on_response_stream: _Optional[bool] = ...) -> None: ...

class InstanceStatus(_message.Message):
    __slots__ = ("instance", "failure")
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    instance: int
    failure: Failure
    def __init__(self, instance: _Optional[int] = ..., failure: _Optional[_Union[Failure, _Mapping]] = ...) -> None: ...

class Action(_message.Message):
    __slots__ = ("id", "remove_headers", "set_headers", "append_headers", "body", "path", "query", "method", "authority", "status_code", "immediate_response", "failure", "analytics_metadata", "metadata_set", "metadata_removed", "remove_trailers", "set_trailers", "upstream", "work_us", "attempts")
    ID_FIELD_NUMBER: _ClassVar[int]
    REMOVE_HEADERS_FIELD_NUMBER: _ClassVar[int]
    SET_HEADERS_FIELD_NUMBER: _ClassVar[int]
    APPEND_HEADERS_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    AUTHORITY_FIELD_NUMBER: _ClassVar[int]
    STATUS_CODE_FIELD_NUMBER: _ClassVar[int]
    IMMEDIATE_RESPONSE_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    ANALYTICS_METADATA_FIELD_NUMBER: _ClassVar[int]
    METADATA_SET_FIELD_NUMBER: _ClassVar[int]
    METADATA_REMOVED_FIELD_NUMBER: _ClassVar[int]
    REMOVE_TRAILERS_FIELD_NUMBER: _ClassVar[int]
    SET_TRAILERS_FIELD_NUMBER: _ClassVar[int]
    UPSTREAM_FIELD_NUMBER: _ClassVar[int]
    WORK_US_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    id: int
    remove_headers: bytes
    set_headers: bytes
    append_headers: bytes
    body: bytes
    path: bytes
    query: bytes
    method: bytes
    authority: bytes
    status_code: int
    immediate_response: ImmediateResponse
    failure: Failure
    analytics_metadata: bytes
    metadata_set: bytes
    metadata_removed: _containers.RepeatedScalarFieldContainer[str]
    remove_trailers: bytes
    set_trailers: bytes
    upstream: bytes
    work_us: int
    attempts: _containers.RepeatedCompositeFieldContainer[Attempt]
    def __init__(self, id: _Optional[int] = ..., remove_headers: _Optional[bytes] = ..., set_headers: _Optional[bytes] = ..., append_headers: _Optional[bytes] = ..., body: _Optional[bytes] = ..., path: _Optional[bytes] = ..., query: _Optional[bytes] = ..., method: _Optional[bytes] = ..., authority: _Optional[bytes] = ..., status_code: _Optional[int] = ..., immediate_response: _Optional[_Union[ImmediateResponse, _Mapping]] = ..., failure: _Optional[_Union[Failure, _Mapping]] = ..., analytics_metadata: _Optional[bytes] = ..., metadata_set: _Optional[bytes] = ..., metadata_removed: _Optional[_Iterable[str]] = ..., remove_trailers: _Optional[bytes] = ..., set_trailers: _Optional[bytes] = ..., upstream: _Optional[bytes] = ..., work_us: _Optional[int] = ..., attempts: _Optional[_Iterable[_Union[Attempt, _Mapping]]] = ...) -> None: ...

class Attempt(_message.Message):
    __slots__ = ("upstream", "set_headers", "path", "body")
    UPSTREAM_FIELD_NUMBER: _ClassVar[int]
    SET_HEADERS_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    upstream: bytes
    set_headers: bytes
    path: bytes
    body: bytes
    def __init__(self, upstream: _Optional[bytes] = ..., set_headers: _Optional[bytes] = ..., path: _Optional[bytes] = ..., body: _Optional[bytes] = ...) -> None: ...

class ImmediateResponse(_message.Message):
    __slots__ = ("status_code", "headers", "body", "file", "line")
    STATUS_CODE_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    LINE_FIELD_NUMBER: _ClassVar[int]
    status_code: int
    headers: bytes
    body: bytes
    file: str
    line: int
    def __init__(self, status_code: _Optional[int] = ..., headers: _Optional[bytes] = ..., body: _Optional[bytes] = ..., file: _Optional[str] = ..., line: _Optional[int] = ...) -> None: ...

class Failure(_message.Message):
    __slots__ = ("failure_class", "message", "policy", "hook", "logged", "file", "line")
    FAILURE_CLASS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    HOOK_FIELD_NUMBER: _ClassVar[int]
    LOGGED_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    LINE_FIELD_NUMBER: _ClassVar[int]
    failure_class: FailureClass
    message: str
    policy: str
    hook: str
    logged: bool
    file: str
    line: int
    def __init__(self, failure_class: _Optional[_Union[FailureClass, str]] = ..., message: _Optional[str] = ..., policy: _Optional[str] = ..., hook: _Optional[str] = ..., logged: _Optional[bool] = ..., file: _Optional[str] = ..., line: _Optional[int] = ...) -> None: ...

class StoreCall(_message.Message):
    __slots__ = ("id", "instance", "operation", "key", "value", "ttl_ms", "if_absent", "amount", "shared", "timeout_us", "rate", "per_us", "burst", "kept", "name", "at_most", "hold_ms")
    ID_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    TTL_MS_FIELD_NUMBER: _ClassVar[int]
    IF_ABSENT_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    SHARED_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_US_FIELD_NUMBER: _ClassVar[int]
    RATE_FIELD_NUMBER: _ClassVar[int]
    PER_US_FIELD_NUMBER: _ClassVar[int]
    BURST_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    AT_MOST_FIELD_NUMBER: _ClassVar[int]
    HOLD_MS_FIELD_NUMBER: _ClassVar[int]
    id: int
    instance: int
    operation: StoreOperation
    key: bytes
    value: bytes
    ttl_ms: int
    if_absent: bool
    amount: int
    shared: bool
    timeout_us: int
    rate: int
    per_us: int
    burst: int
    kept: bool
    name: bytes
    at_most: int
    hold_ms: int
    def __init__(self, id: _Optional[int] = ..., instance: _Optional[int] = ..., operation: _Optional[_Union[StoreOperation, str]] = ..., key: _Optional[bytes] = ..., value: _Optional[bytes] = ..., ttl_ms: _Optional[int] = ..., if_absent: _Optional[bool] = ..., amount: _Optional[int] = ..., shared: _Optional[bool] = ..., timeout_us: _Optional[int] = ..., rate: _Optional[int] = ..., per_us: _Optional[int] = ..., burst: _Optional[int] = ..., kept: _Optional[bool] = ..., name: _Optional[bytes] = ..., at_most: _Optional[int] = ..., hold_ms: _Optional[int] = ...) -> None: ...

class StoreResult(_message.Message):
    __slots__ = ("id", "outcome", "message", "yes", "value", "number", "retry_after_us", "reset_after_us", "reserved")
    ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    YES_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_US_FIELD_NUMBER: _ClassVar[int]
    RESET_AFTER_US_FIELD_NUMBER: _ClassVar[int]
    RESERVED_FIELD_NUMBER: _ClassVar[int]
    id: int
    outcome: StoreOutcome
    message: str
    yes: bool
    value: bytes
    number: int
    retry_after_us: int
    reset_after_us: int
    reserved: int
    def __init__(self, id: _Optional[int] = ..., outcome: _Optional[_Union[StoreOutcome, str]] = ..., message: _Optional[str] = ..., yes: _Optional[bool] = ..., value: _Optional[bytes] = ..., number: _Optional[int] = ..., retry_after_us: _Optional[int] = ..., reset_after_us: _Optional[int] = ..., reserved: _Optional[int] = ...) -> None: ...

class HealthCheckRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class HealthCheckResponse(_message.Message):
    __slots__ = ("serving", "pid", "workers", "workers_busy", "executions_started", "executions_finished", "oldest_execution_ms", "oldest_execution_policy", "hung", "workers_hung", "memory_exhausted", "thread_failed")
    SERVING_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    WORKERS_BUSY_FIELD_NUMBER: _ClassVar[int]
    EXECUTIONS_STARTED_FIELD_NUMBER: _ClassVar[int]
    EXECUTIONS_FINISHED_FIELD_NUMBER: _ClassVar[int]
    OLDEST_EXECUTION_MS_FIELD_NUMBER: _ClassVar[int]
    OLDEST_EXECUTION_POLICY_FIELD_NUMBER: _ClassVar[int]
    HUNG_FIELD_NUMBER: _ClassVar[int]
    WORKERS_HUNG_FIELD_NUMBER: _ClassVar[int]
    MEMORY_EXHAUSTED_FIELD_NUMBER: _ClassVar[int]
    THREAD_FAILED_FIELD_NUMBER: _ClassVar[int]
    serving: bool
    pid: int
    workers: int
    workers_busy: int
    executions_started: int
    executions_finished: int
    oldest_execution_ms: int
    oldest_execution_policy: str
    hung: _containers.RepeatedCompositeFieldContainer[HungExecutions]
    workers_hung: int
    memory_exhausted: bool
    thread_failed: bool
    def __init__(self, serving: _Optional[bool] = ..., pid: _Optional[int] = ..., workers: _Optional[int] = ..., workers_busy: _Optional[int] = ..., executions_started: _Optional[int] = ..., executions_finished: _Optional[int] = ..., oldest_execution_ms: _Optional[int] = ..., oldest_execution_policy: _Optional[str] = ..., hung: _Optional[_Iterable[_Union[HungExecutions, _Mapping]]] = ..., workers_hung: _Optional[int] = ..., memory_exhausted: _Optional[bool] = ..., thread_failed: _Optional[bool] = ...) -> None: ...

class HungExecutions(_message.Message):
    __slots__ = ("policy", "api_name", "instance_id", "count", "oldest_ms", "blocks_instance", "limit_ms", "stack")
    POLICY_FIELD_NUMBER: _ClassVar[int]
    API_NAME_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    OLDEST_MS_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_INSTANCE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_MS_FIELD_NUMBER: _ClassVar[int]
    STACK_FIELD_NUMBER: _ClassVar[int]
    policy: str
    api_name: str
    instance_id: str
    count: int
    oldest_ms: int
    blocks_instance: bool
    limit_ms: int
    stack: str
    def __init__(self, policy: _Optional[str] = ..., api_name: _Optional[str] = ..., instance_id: _Optional[str] = ..., count: _Optional[int] = ..., oldest_ms: _Optional[int] = ..., blocks_instance: _Optional[bool] = ..., limit_ms: _Optional[int] = ..., stack: _Optional[str] = ...) -> None: ...

class CollectMetricsRequest(_message.Message):
    __slots__ = ("version",)
    VERSION_FIELD_NUMBER: _ClassVar[int]
    version: int
    def __init__(self, version: _Optional[int] = ...) -> None: ...

class CollectMetricsResponse(_message.Message):
    __slots__ = ("version", "metrics", "process")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    version: int
    metrics: _containers.RepeatedCompositeFieldContainer[PolicyMetric]
    process: int
    def __init__(self, version: _Optional[int] = ..., metrics: _Optional[_Iterable[_Union[PolicyMetric, _Mapping]]] = ..., process: _Optional[int] = ...) -> None: ...

class PolicyMetric(_message.Message):
    __slots__ = ("policy", "name", "help", "kind", "label_names", "bounds", "samples", "refused")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[PolicyMetric.Kind]
        KIND_COUNTER: _ClassVar[PolicyMetric.Kind]
        KIND_GAUGE: _ClassVar[PolicyMetric.Kind]
        KIND_HISTOGRAM: _ClassVar[PolicyMetric.Kind]
    KIND_UNSPECIFIED: PolicyMetric.Kind
    KIND_COUNTER: PolicyMetric.Kind
    KIND_GAUGE: PolicyMetric.Kind
    KIND_HISTOGRAM: PolicyMetric.Kind
    POLICY_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    HELP_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    LABEL_NAMES_FIELD_NUMBER: _ClassVar[int]
    BOUNDS_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    policy: str
    name: str
    help: str
    kind: PolicyMetric.Kind
    label_names: _containers.RepeatedScalarFieldContainer[str]
    bounds: _containers.RepeatedScalarFieldContainer[float]
    samples: _containers.RepeatedCompositeFieldContainer[PolicySample]
    refused: int
    def __init__(self, policy: _Optional[str] = ..., name: _Optional[str] = ..., help: _Optional[str] = ..., kind: _Optional[_Union[PolicyMetric.Kind, str]] = ..., label_names: _Optional[_Iterable[str]] = ..., bounds: _Optional[_Iterable[float]] = ..., samples: _Optional[_Iterable[_Union[PolicySample, _Mapping]]] = ..., refused: _Optional[int] = ...) -> None: ...

class PolicySample(_message.Message):
    __slots__ = ("label_values", "value", "buckets")
    LABEL_VALUES_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    BUCKETS_FIELD_NUMBER: _ClassVar[int]
    label_values: _containers.RepeatedScalarFieldContainer[str]
    value: float
    buckets: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, label_values: _Optional[_Iterable[str]] = ..., value: _Optional[float] = ..., buckets: _Optional[_Iterable[int]] = ...) -> None: ...

class SetLogLevelRequest(_message.Message):
    __slots__ = ("level",)
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    level: str
    def __init__(self, level: _Optional[str] = ...) -> None: ...

class SetLogLevelResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
