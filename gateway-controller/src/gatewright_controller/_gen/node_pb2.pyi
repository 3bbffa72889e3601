from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DrainState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DRAIN_STATE_UNSPECIFIED: _ClassVar[DrainState]
    DRAIN_STATE_SERVING: _ClassVar[DrainState]
    DRAIN_STATE_DRAINING: _ClassVar[DrainState]
    DRAIN_STATE_DRAINED: _ClassVar[DrainState]

class Document(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DOCUMENT_UNSPECIFIED: _ClassVar[Document]
    DOCUMENT_METRICS: _ClassVar[Document]
    DOCUMENT_STATS: _ClassVar[Document]
    DOCUMENT_CHAINS: _ClassVar[Document]
    DOCUMENT_CLUSTERS: _ClassVar[Document]
    DOCUMENT_NOTES: _ClassVar[Document]

class OnError(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ON_ERROR_UNSPECIFIED: _ClassVar[OnError]
    ON_ERROR_FAIL: _ClassVar[OnError]
    ON_ERROR_CONTINUE: _ClassVar[OnError]

class HeaderMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    HEADER_MODE_UNSPECIFIED: _ClassVar[HeaderMode]
    HEADER_MODE_SKIP: _ClassVar[HeaderMode]
    HEADER_MODE_PROCESS: _ClassVar[HeaderMode]

class EncodedBodies(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENCODED_BODIES_UNSPECIFIED: _ClassVar[EncodedBodies]
    ENCODED_BODIES_REFUSE: _ClassVar[EncodedBodies]
    ENCODED_BODIES_PASS: _ClassVar[EncodedBodies]
    ENCODED_BODIES_DECODE: _ClassVar[EncodedBodies]

class BodyMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BODY_MODE_UNSPECIFIED: _ClassVar[BodyMode]
    BODY_MODE_SKIP: _ClassVar[BodyMode]
    BODY_MODE_BUFFER: _ClassVar[BodyMode]
    BODY_MODE_STREAM: _ClassVar[BodyMode]
DRAIN_STATE_UNSPECIFIED: DrainState
DRAIN_STATE_SERVING: DrainState
DRAIN_STATE_DRAINING: DrainState
DRAIN_STATE_DRAINED: DrainState
DOCUMENT_UNSPECIFIED: Document
DOCUMENT_METRICS: Document
DOCUMENT_STATS: Document
DOCUMENT_CHAINS: Document
DOCUMENT_CLUSTERS: Document
DOCUMENT_NOTES: Document
ON_ERROR_UNSPECIFIED: OnError
ON_ERROR_FAIL: OnError
ON_ERROR_CONTINUE: OnError
HEADER_MODE_UNSPECIFIED: HeaderMode
HEADER_MODE_SKIP: HeaderMode
HEADER_MODE_PROCESS: HeaderMode
ENCODED_BODIES_UNSPECIFIED: EncodedBodies
ENCODED_BODIES_REFUSE: EncodedBodies
ENCODED_BODIES_PASS: EncodedBodies
ENCODED_BODIES_DECODE: EncodedBodies
BODY_MODE_UNSPECIFIED: BodyMode
BODY_MODE_SKIP: BodyMode
BODY_MODE_BUFFER: BodyMode
BODY_MODE_STREAM: BodyMode

class NodeMessage(_message.Message):
    __slots__ = ("hello", "report")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    report: Report
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., report: _Optional[_Union[Report, _Mapping]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("node_id", "engine_version", "policies", "bundles", "gateway_digest", "keeps_gateway", "admin_address", "labels", "drain", "secrets", "consumers")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    ENGINE_VERSION_FIELD_NUMBER: _ClassVar[int]
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    BUNDLES_FIELD_NUMBER: _ClassVar[int]
    GATEWAY_DIGEST_FIELD_NUMBER: _ClassVar[int]
    KEEPS_GATEWAY_FIELD_NUMBER: _ClassVar[int]
    ADMIN_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    SECRETS_FIELD_NUMBER: _ClassVar[int]
    CONSUMERS_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    engine_version: str
    policies: _containers.RepeatedCompositeFieldContainer[PolicyRef]
    bundles: _containers.RepeatedCompositeFieldContainer[BundleRef]
    gateway_digest: str
    keeps_gateway: bool
    admin_address: str
    labels: _containers.ScalarMap[str, str]
    drain: DrainState
    secrets: _containers.RepeatedCompositeFieldContainer[SecretVersion]
    consumers: ConsumerVersions
    def __init__(self, node_id: _Optional[str] = ..., engine_version: _Optional[str] = ..., policies: _Optional[_Iterable[_Union[PolicyRef, _Mapping]]] = ..., bundles: _Optional[_Iterable[_Union[BundleRef, _Mapping]]] = ..., gateway_digest: _Optional[str] = ..., keeps_gateway: _Optional[bool] = ..., admin_address: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., drain: _Optional[_Union[DrainState, str]] = ..., secrets: _Optional[_Iterable[_Union[SecretVersion, _Mapping]]] = ..., consumers: _Optional[_Union[ConsumerVersions, _Mapping]] = ...) -> None: ...

class ConsumerVersions(_message.Message):
    __slots__ = ("shards", "plans")
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    PLANS_FIELD_NUMBER: _ClassVar[int]
    shards: bytes
    plans: bytes
    def __init__(self, shards: _Optional[bytes] = ..., plans: _Optional[bytes] = ...) -> None: ...

class SecretVersion(_message.Message):
    __slots__ = ("name", "version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class PolicyRef(_message.Message):
    __slots__ = ("name", "version", "definition_digest")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DEFINITION_DIGEST_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    definition_digest: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., definition_digest: _Optional[str] = ...) -> None: ...

class BundleRef(_message.Message):
    __slots__ = ("api", "digest", "unsettled")
    API_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    UNSETTLED_FIELD_NUMBER: _ClassVar[int]
    api: str
    digest: str
    unsettled: bool
    def __init__(self, api: _Optional[str] = ..., digest: _Optional[str] = ..., unsettled: _Optional[bool] = ...) -> None: ...

class Report(_message.Message):
    __slots__ = ("revision", "apis", "gateway")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    APIS_FIELD_NUMBER: _ClassVar[int]
    GATEWAY_FIELD_NUMBER: _ClassVar[int]
    revision: int
    apis: _containers.RepeatedCompositeFieldContainer[ApiStatus]
    gateway: GatewayStatus
    def __init__(self, revision: _Optional[int] = ..., apis: _Optional[_Iterable[_Union[ApiStatus, _Mapping]]] = ..., gateway: _Optional[_Union[GatewayStatus, _Mapping]] = ...) -> None: ...

class GatewayStatus(_message.Message):
    __slots__ = ("digest", "state", "reason")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    digest: str
    state: ApiStatus.State
    reason: str
    def __init__(self, digest: _Optional[str] = ..., state: _Optional[_Union[ApiStatus.State, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class ApiStatus(_message.Message):
    __slots__ = ("api", "digest", "state", "reason")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[ApiStatus.State]
        STATE_APPLIED: _ClassVar[ApiStatus.State]
        STATE_REJECTED: _ClassVar[ApiStatus.State]
        STATE_REMOVED: _ClassVar[ApiStatus.State]
        STATE_PENDING: _ClassVar[ApiStatus.State]
    STATE_UNSPECIFIED: ApiStatus.State
    STATE_APPLIED: ApiStatus.State
    STATE_REJECTED: ApiStatus.State
    STATE_REMOVED: ApiStatus.State
    STATE_PENDING: ApiStatus.State
    API_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    api: str
    digest: str
    state: ApiStatus.State
    reason: str
    def __init__(self, api: _Optional[str] = ..., digest: _Optional[str] = ..., state: _Optional[_Union[ApiStatus.State, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class Observed(_message.Message):
    __slots__ = ("node_id", "observation", "exchanges", "dropped", "ended", "refused", "documents", "piece", "labels")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_FIELD_NUMBER: _ClassVar[int]
    EXCHANGES_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    PIECE_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    observation: int
    exchanges: _containers.RepeatedScalarFieldContainer[bytes]
    dropped: int
    ended: bool
    refused: str
    documents: _containers.RepeatedScalarFieldContainer[Document]
    piece: bytes
    labels: _containers.ScalarMap[str, str]
    def __init__(self, node_id: _Optional[str] = ..., observation: _Optional[int] = ..., exchanges: _Optional[_Iterable[bytes]] = ..., dropped: _Optional[int] = ..., ended: _Optional[bool] = ..., refused: _Optional[str] = ..., documents: _Optional[_Iterable[_Union[Document, str]]] = ..., piece: _Optional[bytes] = ..., labels: _Optional[_Mapping[str, str]] = ...) -> None: ...

class StatesRequest(_message.Message):
    __slots__ = ("node_id", "known", "labels")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    KNOWN_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    known: str
    labels: _containers.ScalarMap[str, str]
    def __init__(self, node_id: _Optional[str] = ..., known: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Observation(_message.Message):
    __slots__ = ("id", "stop", "filter", "kept", "seconds", "record_only", "document")
    ID_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    RECORD_ONLY_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    id: int
    stop: bool
    filter: bytes
    kept: bool
    seconds: int
    record_only: bool
    document: Document
    def __init__(self, id: _Optional[int] = ..., stop: _Optional[bool] = ..., filter: _Optional[bytes] = ..., kept: _Optional[bool] = ..., seconds: _Optional[int] = ..., record_only: _Optional[bool] = ..., document: _Optional[_Union[Document, str]] = ...) -> None: ...

class ControllerMessage(_message.Message):
    __slots__ = ("update", "drain", "consumers")
    UPDATE_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    CONSUMERS_FIELD_NUMBER: _ClassVar[int]
    update: Update
    drain: Drain
    consumers: ConsumerChange
    def __init__(self, update: _Optional[_Union[Update, _Mapping]] = ..., drain: _Optional[_Union[Drain, _Mapping]] = ..., consumers: _Optional[_Union[ConsumerChange, _Mapping]] = ...) -> None: ...

class ConsumerChange(_message.Message):
    __slots__ = ("shards", "consumers", "removed", "plans")
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    CONSUMERS_FIELD_NUMBER: _ClassVar[int]
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    PLANS_FIELD_NUMBER: _ClassVar[int]
    shards: _containers.RepeatedCompositeFieldContainer[ConsumerShard]
    consumers: _containers.RepeatedScalarFieldContainer[bytes]
    removed: _containers.RepeatedScalarFieldContainer[str]
    plans: bytes
    def __init__(self, shards: _Optional[_Iterable[_Union[ConsumerShard, _Mapping]]] = ..., consumers: _Optional[_Iterable[bytes]] = ..., removed: _Optional[_Iterable[str]] = ..., plans: _Optional[bytes] = ...) -> None: ...

class ConsumerShard(_message.Message):
    __slots__ = ("number", "consumers")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    CONSUMERS_FIELD_NUMBER: _ClassVar[int]
    number: int
    consumers: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, number: _Optional[int] = ..., consumers: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Consumer(_message.Message):
    __slots__ = ("name", "plan", "labels", "keys", "claims", "certificates")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    CLAIMS_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATES_FIELD_NUMBER: _ClassVar[int]
    name: str
    plan: str
    labels: _containers.ScalarMap[str, str]
    keys: _containers.RepeatedCompositeFieldContainer[ConsumerKey]
    claims: _containers.RepeatedCompositeFieldContainer[ConsumerClaims]
    certificates: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, name: _Optional[str] = ..., plan: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., keys: _Optional[_Iterable[_Union[ConsumerKey, _Mapping]]] = ..., claims: _Optional[_Iterable[_Union[ConsumerClaims, _Mapping]]] = ..., certificates: _Optional[_Iterable[bytes]] = ...) -> None: ...

class ConsumerKey(_message.Message):
    __slots__ = ("digest", "expires")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_FIELD_NUMBER: _ClassVar[int]
    digest: bytes
    expires: int
    def __init__(self, digest: _Optional[bytes] = ..., expires: _Optional[int] = ...) -> None: ...

class ConsumerClaims(_message.Message):
    __slots__ = ("issuer", "subject")
    ISSUER_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    issuer: str
    subject: str
    def __init__(self, issuer: _Optional[str] = ..., subject: _Optional[str] = ...) -> None: ...

class Plans(_message.Message):
    __slots__ = ("plans",)
    PLANS_FIELD_NUMBER: _ClassVar[int]
    plans: _containers.RepeatedCompositeFieldContainer[Plan]
    def __init__(self, plans: _Optional[_Iterable[_Union[Plan, _Mapping]]] = ...) -> None: ...

class Plan(_message.Message):
    __slots__ = ("name", "limits", "quotas")
    NAME_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    QUOTAS_FIELD_NUMBER: _ClassVar[int]
    name: str
    limits: bytes
    quotas: bytes
    def __init__(self, name: _Optional[str] = ..., limits: _Optional[bytes] = ..., quotas: _Optional[bytes] = ...) -> None: ...

class Drain(_message.Message):
    __slots__ = ("drained", "accept_seconds")
    DRAINED_FIELD_NUMBER: _ClassVar[int]
    ACCEPT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    drained: bool
    accept_seconds: int
    def __init__(self, drained: _Optional[bool] = ..., accept_seconds: _Optional[int] = ...) -> None: ...

class StatePart(_message.Message):
    __slots__ = ("tag", "piece", "last")
    TAG_FIELD_NUMBER: _ClassVar[int]
    PIECE_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    tag: str
    piece: bytes
    last: bool
    def __init__(self, tag: _Optional[str] = ..., piece: _Optional[bytes] = ..., last: _Optional[bool] = ...) -> None: ...

class Update(_message.Message):
    __slots__ = ("revision", "bundles", "removed_apis", "gateway", "nodes", "secrets", "consumers")
    class NodesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: NodeLabels
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[NodeLabels, _Mapping]] = ...) -> None: ...
    REVISION_FIELD_NUMBER: _ClassVar[int]
    BUNDLES_FIELD_NUMBER: _ClassVar[int]
    REMOVED_APIS_FIELD_NUMBER: _ClassVar[int]
    GATEWAY_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    SECRETS_FIELD_NUMBER: _ClassVar[int]
    CONSUMERS_FIELD_NUMBER: _ClassVar[int]
    revision: int
    bundles: _containers.RepeatedCompositeFieldContainer[ApiBundle]
    removed_apis: _containers.RepeatedScalarFieldContainer[str]
    gateway: Gateway
    nodes: _containers.MessageMap[str, NodeLabels]
    secrets: _containers.RepeatedCompositeFieldContainer[SecretValues]
    consumers: ConsumerChange
    def __init__(self, revision: _Optional[int] = ..., bundles: _Optional[_Iterable[_Union[ApiBundle, _Mapping]]] = ..., removed_apis: _Optional[_Iterable[str]] = ..., gateway: _Optional[_Union[Gateway, _Mapping]] = ..., nodes: _Optional[_Mapping[str, NodeLabels]] = ..., secrets: _Optional[_Iterable[_Union[SecretValues, _Mapping]]] = ..., consumers: _Optional[_Union[ConsumerChange, _Mapping]] = ...) -> None: ...

class NodeLabels(_message.Message):
    __slots__ = ("labels",)
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    LABELS_FIELD_NUMBER: _ClassVar[int]
    labels: _containers.ScalarMap[str, str]
    def __init__(self, labels: _Optional[_Mapping[str, str]] = ...) -> None: ...

class SecretValues(_message.Message):
    __slots__ = ("name", "version", "values", "unavailable")
    class ValuesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    UNAVAILABLE_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    values: _containers.ScalarMap[str, str]
    unavailable: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., values: _Optional[_Mapping[str, str]] = ..., unavailable: _Optional[str] = ...) -> None: ...

class Gateway(_message.Message):
    __slots__ = ("digest", "listeners", "certificates", "authorities", "answers_challenges", "internal_listeners", "telemetry", "store")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    LISTENERS_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATES_FIELD_NUMBER: _ClassVar[int]
    AUTHORITIES_FIELD_NUMBER: _ClassVar[int]
    ANSWERS_CHALLENGES_FIELD_NUMBER: _ClassVar[int]
    INTERNAL_LISTENERS_FIELD_NUMBER: _ClassVar[int]
    TELEMETRY_FIELD_NUMBER: _ClassVar[int]
    STORE_FIELD_NUMBER: _ClassVar[int]
    digest: str
    listeners: _containers.RepeatedScalarFieldContainer[bytes]
    certificates: _containers.RepeatedCompositeFieldContainer[Certificate]
    authorities: _containers.RepeatedCompositeFieldContainer[CertificateAuthority]
    answers_challenges: bool
    internal_listeners: _containers.RepeatedScalarFieldContainer[str]
    telemetry: Telemetry
    store: Store
    def __init__(self, digest: _Optional[str] = ..., listeners: _Optional[_Iterable[bytes]] = ..., certificates: _Optional[_Iterable[_Union[Certificate, _Mapping]]] = ..., authorities: _Optional[_Iterable[_Union[CertificateAuthority, _Mapping]]] = ..., answers_challenges: _Optional[bool] = ..., internal_listeners: _Optional[_Iterable[str]] = ..., telemetry: _Optional[_Union[Telemetry, _Mapping]] = ..., store: _Optional[_Union[Store, _Mapping]] = ...) -> None: ...

class Store(_message.Message):
    __slots__ = ("max_bytes", "valkey")
    MAX_BYTES_FIELD_NUMBER: _ClassVar[int]
    VALKEY_FIELD_NUMBER: _ClassVar[int]
    max_bytes: int
    valkey: ValkeyStore
    def __init__(self, max_bytes: _Optional[int] = ..., valkey: _Optional[_Union[ValkeyStore, _Mapping]] = ...) -> None: ...

class ValkeyStore(_message.Message):
    __slots__ = ("address", "tls", "authority_file", "server_name", "user", "password_file", "prefix", "timeout_ms")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    TLS_FIELD_NUMBER: _ClassVar[int]
    AUTHORITY_FILE_FIELD_NUMBER: _ClassVar[int]
    SERVER_NAME_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    PASSWORD_FILE_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    address: str
    tls: bool
    authority_file: str
    server_name: str
    user: str
    password_file: str
    prefix: str
    timeout_ms: int
    def __init__(self, address: _Optional[str] = ..., tls: _Optional[bool] = ..., authority_file: _Optional[str] = ..., server_name: _Optional[str] = ..., user: _Optional[str] = ..., password_file: _Optional[str] = ..., prefix: _Optional[str] = ..., timeout_ms: _Optional[int] = ...) -> None: ...

class Telemetry(_message.Message):
    __slots__ = ("admin", "metrics", "tracing", "logging", "redaction", "recording")
    ADMIN_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    TRACING_FIELD_NUMBER: _ClassVar[int]
    LOGGING_FIELD_NUMBER: _ClassVar[int]
    REDACTION_FIELD_NUMBER: _ClassVar[int]
    RECORDING_FIELD_NUMBER: _ClassVar[int]
    admin: Admin
    metrics: Metrics
    tracing: Tracing
    logging: Logging
    redaction: Redaction
    recording: Recording
    def __init__(self, admin: _Optional[_Union[Admin, _Mapping]] = ..., metrics: _Optional[_Union[Metrics, _Mapping]] = ..., tracing: _Optional[_Union[Tracing, _Mapping]] = ..., logging: _Optional[_Union[Logging, _Mapping]] = ..., redaction: _Optional[_Union[Redaction, _Mapping]] = ..., recording: _Optional[_Union[Recording, _Mapping]] = ...) -> None: ...

class Admin(_message.Message):
    __slots__ = ("address", "port", "disabled")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    DISABLED_FIELD_NUMBER: _ClassVar[int]
    address: str
    port: int
    disabled: bool
    def __init__(self, address: _Optional[str] = ..., port: _Optional[int] = ..., disabled: _Optional[bool] = ...) -> None: ...

class Metrics(_message.Message):
    __slots__ = ("disabled", "max_series", "without_operations")
    DISABLED_FIELD_NUMBER: _ClassVar[int]
    MAX_SERIES_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_OPERATIONS_FIELD_NUMBER: _ClassVar[int]
    disabled: bool
    max_series: int
    without_operations: bool
    def __init__(self, disabled: _Optional[bool] = ..., max_series: _Optional[int] = ..., without_operations: _Optional[bool] = ...) -> None: ...

class Tracing(_message.Message):
    __slots__ = ("endpoint", "http", "tls", "sample", "force_token_file", "service_name", "resource_attributes", "headers", "trust_clients")
    class ResourceAttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class HeadersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    HTTP_FIELD_NUMBER: _ClassVar[int]
    TLS_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_FIELD_NUMBER: _ClassVar[int]
    FORCE_TOKEN_FILE_FIELD_NUMBER: _ClassVar[int]
    SERVICE_NAME_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    TRUST_CLIENTS_FIELD_NUMBER: _ClassVar[int]
    endpoint: str
    http: bool
    tls: bool
    sample: float
    force_token_file: str
    service_name: str
    resource_attributes: _containers.ScalarMap[str, str]
    headers: _containers.ScalarMap[str, str]
    trust_clients: bool
    def __init__(self, endpoint: _Optional[str] = ..., http: _Optional[bool] = ..., tls: _Optional[bool] = ..., sample: _Optional[float] = ..., force_token_file: _Optional[str] = ..., service_name: _Optional[str] = ..., resource_attributes: _Optional[_Mapping[str, str]] = ..., headers: _Optional[_Mapping[str, str]] = ..., trust_clients: _Optional[bool] = ...) -> None: ...

class Logging(_message.Message):
    __slots__ = ("endpoint", "http", "tls", "headers")
    class HeadersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    HTTP_FIELD_NUMBER: _ClassVar[int]
    TLS_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    endpoint: str
    http: bool
    tls: bool
    headers: _containers.ScalarMap[str, str]
    def __init__(self, endpoint: _Optional[str] = ..., http: _Optional[bool] = ..., tls: _Optional[bool] = ..., headers: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Redaction(_message.Message):
    __slots__ = ("headers", "query_parameters", "fields")
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    QUERY_PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    headers: _containers.RepeatedScalarFieldContainer[str]
    query_parameters: _containers.RepeatedScalarFieldContainer[str]
    fields: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, headers: _Optional[_Iterable[str]] = ..., query_parameters: _Optional[_Iterable[str]] = ..., fields: _Optional[_Iterable[str]] = ...) -> None: ...

class Recording(_message.Message):
    __slots__ = ("max_bytes", "body_bytes")
    MAX_BYTES_FIELD_NUMBER: _ClassVar[int]
    BODY_BYTES_FIELD_NUMBER: _ClassVar[int]
    max_bytes: int
    body_bytes: int
    def __init__(self, max_bytes: _Optional[int] = ..., body_bytes: _Optional[int] = ...) -> None: ...

class Certificate(_message.Message):
    __slots__ = ("name", "certificate_file", "key_file", "renewed")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_FILE_FIELD_NUMBER: _ClassVar[int]
    KEY_FILE_FIELD_NUMBER: _ClassVar[int]
    RENEWED_FIELD_NUMBER: _ClassVar[int]
    name: str
    certificate_file: str
    key_file: str
    renewed: bool
    def __init__(self, name: _Optional[str] = ..., certificate_file: _Optional[str] = ..., key_file: _Optional[str] = ..., renewed: _Optional[bool] = ...) -> None: ...

class CertificateAuthority(_message.Message):
    __slots__ = ("name", "file", "revocation_file")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    REVOCATION_FILE_FIELD_NUMBER: _ClassVar[int]
    name: str
    file: str
    revocation_file: str
    def __init__(self, name: _Optional[str] = ..., file: _Optional[str] = ..., revocation_file: _Optional[str] = ...) -> None: ...

class ApiBundle(_message.Message):
    __slots__ = ("api", "digest", "hosts", "context", "routes", "clusters", "chains", "version", "unserved", "strict_paths", "chosen_routes", "listeners", "unresolved", "first_route", "operations", "attached_to")
    API_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    HOSTS_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    ROUTES_FIELD_NUMBER: _ClassVar[int]
    CLUSTERS_FIELD_NUMBER: _ClassVar[int]
    CHAINS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    UNSERVED_FIELD_NUMBER: _ClassVar[int]
    STRICT_PATHS_FIELD_NUMBER: _ClassVar[int]
    CHOSEN_ROUTES_FIELD_NUMBER: _ClassVar[int]
    LISTENERS_FIELD_NUMBER: _ClassVar[int]
    UNRESOLVED_FIELD_NUMBER: _ClassVar[int]
    FIRST_ROUTE_FIELD_NUMBER: _ClassVar[int]
    OPERATIONS_FIELD_NUMBER: _ClassVar[int]
    ATTACHED_TO_FIELD_NUMBER: _ClassVar[int]
    api: str
    digest: str
    hosts: _containers.RepeatedScalarFieldContainer[str]
    context: str
    routes: _containers.RepeatedScalarFieldContainer[bytes]
    clusters: _containers.RepeatedScalarFieldContainer[bytes]
    chains: _containers.RepeatedCompositeFieldContainer[Chain]
    version: str
    unserved: str
    strict_paths: bool
    chosen_routes: _containers.RepeatedScalarFieldContainer[bytes]
    listeners: _containers.RepeatedScalarFieldContainer[str]
    unresolved: str
    first_route: bytes
    operations: OperationTable
    attached_to: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, api: _Optional[str] = ..., digest: _Optional[str] = ..., hosts: _Optional[_Iterable[str]] = ..., context: _Optional[str] = ..., routes: _Optional[_Iterable[bytes]] = ..., clusters: _Optional[_Iterable[bytes]] = ..., chains: _Optional[_Iterable[_Union[Chain, _Mapping]]] = ..., version: _Optional[str] = ..., unserved: _Optional[str] = ..., strict_paths: _Optional[bool] = ..., chosen_routes: _Optional[_Iterable[bytes]] = ..., listeners: _Optional[_Iterable[str]] = ..., unresolved: _Optional[str] = ..., first_route: _Optional[bytes] = ..., operations: _Optional[_Union[OperationTable, _Mapping]] = ..., attached_to: _Optional[_Iterable[str]] = ...) -> None: ...

class OperationTable(_message.Message):
    __slots__ = ("id", "paths", "rows")
    ID_FIELD_NUMBER: _ClassVar[int]
    PATHS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    id: str
    paths: _containers.RepeatedCompositeFieldContainer[PathMatch]
    rows: _containers.RepeatedCompositeFieldContainer[OperationRow]
    def __init__(self, id: _Optional[str] = ..., paths: _Optional[_Iterable[_Union[PathMatch, _Mapping]]] = ..., rows: _Optional[_Iterable[_Union[OperationRow, _Mapping]]] = ...) -> None: ...

class OperationRow(_message.Message):
    __slots__ = ("path", "methods", "other_methods", "headers", "query", "operation", "chain", "websocket", "answer")
    PATH_FIELD_NUMBER: _ClassVar[int]
    METHODS_FIELD_NUMBER: _ClassVar[int]
    OTHER_METHODS_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    CHAIN_FIELD_NUMBER: _ClassVar[int]
    WEBSOCKET_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    path: int
    methods: _containers.RepeatedScalarFieldContainer[str]
    other_methods: bool
    headers: _containers.RepeatedCompositeFieldContainer[ValueMatch]
    query: _containers.RepeatedCompositeFieldContainer[ValueMatch]
    operation: str
    chain: str
    websocket: bool
    answer: OwnAnswer
    def __init__(self, path: _Optional[int] = ..., methods: _Optional[_Iterable[str]] = ..., other_methods: _Optional[bool] = ..., headers: _Optional[_Iterable[_Union[ValueMatch, _Mapping]]] = ..., query: _Optional[_Iterable[_Union[ValueMatch, _Mapping]]] = ..., operation: _Optional[str] = ..., chain: _Optional[str] = ..., websocket: _Optional[bool] = ..., answer: _Optional[_Union[OwnAnswer, _Mapping]] = ...) -> None: ...

class PathMatch(_message.Message):
    __slots__ = ("exact", "prefix", "regex")
    EXACT_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    REGEX_FIELD_NUMBER: _ClassVar[int]
    exact: str
    prefix: str
    regex: str
    def __init__(self, exact: _Optional[str] = ..., prefix: _Optional[str] = ..., regex: _Optional[str] = ...) -> None: ...

class ValueMatch(_message.Message):
    __slots__ = ("name", "exact", "prefix", "suffix", "contains", "regex", "present", "ignore_case")
    NAME_FIELD_NUMBER: _ClassVar[int]
    EXACT_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    SUFFIX_FIELD_NUMBER: _ClassVar[int]
    CONTAINS_FIELD_NUMBER: _ClassVar[int]
    REGEX_FIELD_NUMBER: _ClassVar[int]
    PRESENT_FIELD_NUMBER: _ClassVar[int]
    IGNORE_CASE_FIELD_NUMBER: _ClassVar[int]
    name: str
    exact: str
    prefix: str
    suffix: str
    contains: str
    regex: str
    present: bool
    ignore_case: bool
    def __init__(self, name: _Optional[str] = ..., exact: _Optional[str] = ..., prefix: _Optional[str] = ..., suffix: _Optional[str] = ..., contains: _Optional[str] = ..., regex: _Optional[str] = ..., present: _Optional[bool] = ..., ignore_case: _Optional[bool] = ...) -> None: ...

class OwnAnswer(_message.Message):
    __slots__ = ("status", "detail", "allow", "unescape_slashes", "details")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    ALLOW_FIELD_NUMBER: _ClassVar[int]
    UNESCAPE_SLASHES_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    status: int
    detail: str
    allow: str
    unescape_slashes: bool
    details: str
    def __init__(self, status: _Optional[int] = ..., detail: _Optional[str] = ..., allow: _Optional[str] = ..., unescape_slashes: _Optional[bool] = ..., details: _Optional[str] = ...) -> None: ...

class Chain(_message.Message):
    __slots__ = ("id", "operation", "attachments", "processing_mode", "encoded_responses", "upstreams", "upstream_paths", "failover")
    ID_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    ATTACHMENTS_FIELD_NUMBER: _ClassVar[int]
    PROCESSING_MODE_FIELD_NUMBER: _ClassVar[int]
    ENCODED_RESPONSES_FIELD_NUMBER: _ClassVar[int]
    UPSTREAMS_FIELD_NUMBER: _ClassVar[int]
    UPSTREAM_PATHS_FIELD_NUMBER: _ClassVar[int]
    FAILOVER_FIELD_NUMBER: _ClassVar[int]
    id: str
    operation: str
    attachments: _containers.RepeatedCompositeFieldContainer[Attachment]
    processing_mode: ProcessingMode
    encoded_responses: bool
    upstreams: _containers.RepeatedScalarFieldContainer[str]
    upstream_paths: _containers.RepeatedCompositeFieldContainer[UpstreamPath]
    failover: bool
    def __init__(self, id: _Optional[str] = ..., operation: _Optional[str] = ..., attachments: _Optional[_Iterable[_Union[Attachment, _Mapping]]] = ..., processing_mode: _Optional[_Union[ProcessingMode, _Mapping]] = ..., encoded_responses: _Optional[bool] = ..., upstreams: _Optional[_Iterable[str]] = ..., upstream_paths: _Optional[_Iterable[_Union[UpstreamPath, _Mapping]]] = ..., failover: _Optional[bool] = ...) -> None: ...

class UpstreamPath(_message.Message):
    __slots__ = ("upstream", "base", "pattern", "substitution")
    UPSTREAM_FIELD_NUMBER: _ClassVar[int]
    BASE_FIELD_NUMBER: _ClassVar[int]
    PATTERN_FIELD_NUMBER: _ClassVar[int]
    SUBSTITUTION_FIELD_NUMBER: _ClassVar[int]
    upstream: str
    base: str
    pattern: str
    substitution: str
    def __init__(self, upstream: _Optional[str] = ..., base: _Optional[str] = ..., pattern: _Optional[str] = ..., substitution: _Optional[str] = ...) -> None: ...

class Attachment(_message.Message):
    __slots__ = ("instance", "policy_name", "policy_version", "definition_digest", "parameters", "system_parameters", "processing_mode", "timeout_ms", "on_error", "on_error_by_class", "max_concurrency", "max_body_bytes", "stream_idle_timeout_ms", "operation", "shadow", "when")
    class OnErrorByClassEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: OnError
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[OnError, str]] = ...) -> None: ...
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    POLICY_NAME_FIELD_NUMBER: _ClassVar[int]
    POLICY_VERSION_FIELD_NUMBER: _ClassVar[int]
    DEFINITION_DIGEST_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    SYSTEM_PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    PROCESSING_MODE_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    ON_ERROR_FIELD_NUMBER: _ClassVar[int]
    ON_ERROR_BY_CLASS_FIELD_NUMBER: _ClassVar[int]
    MAX_CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    MAX_BODY_BYTES_FIELD_NUMBER: _ClassVar[int]
    STREAM_IDLE_TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    WHEN_FIELD_NUMBER: _ClassVar[int]
    instance: str
    policy_name: str
    policy_version: str
    definition_digest: str
    parameters: bytes
    system_parameters: bytes
    processing_mode: ProcessingMode
    timeout_ms: int
    on_error: OnError
    on_error_by_class: _containers.ScalarMap[str, OnError]
    max_concurrency: int
    max_body_bytes: int
    stream_idle_timeout_ms: int
    operation: str
    shadow: bool
    when: str
    def __init__(self, instance: _Optional[str] = ..., policy_name: _Optional[str] = ..., policy_version: _Optional[str] = ..., definition_digest: _Optional[str] = ..., parameters: _Optional[bytes] = ..., system_parameters: _Optional[bytes] = ..., processing_mode: _Optional[_Union[ProcessingMode, _Mapping]] = ..., timeout_ms: _Optional[int] = ..., on_error: _Optional[_Union[OnError, str]] = ..., on_error_by_class: _Optional[_Mapping[str, OnError]] = ..., max_concurrency: _Optional[int] = ..., max_body_bytes: _Optional[int] = ..., stream_idle_timeout_ms: _Optional[int] = ..., operation: _Optional[str] = ..., shadow: _Optional[bool] = ..., when: _Optional[str] = ...) -> None: ...

class ProcessingMode(_message.Message):
    __slots__ = ("request_headers", "request_body", "response_headers", "response_body", "request_body_in_response", "encoded_bodies")
    REQUEST_HEADERS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_BODY_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_HEADERS_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_BODY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_BODY_IN_RESPONSE_FIELD_NUMBER: _ClassVar[int]
    ENCODED_BODIES_FIELD_NUMBER: _ClassVar[int]
    request_headers: HeaderMode
    request_body: BodyMode
    response_headers: HeaderMode
    response_body: BodyMode
    request_body_in_response: bool
    encoded_bodies: EncodedBodies
    def __init__(self, request_headers: _Optional[_Union[HeaderMode, str]] = ..., request_body: _Optional[_Union[BodyMode, str]] = ..., response_headers: _Optional[_Union[HeaderMode, str]] = ..., response_body: _Optional[_Union[BodyMode, str]] = ..., request_body_in_response: _Optional[bool] = ..., encoded_bodies: _Optional[_Union[EncodedBodies, str]] = ...) -> None: ...
