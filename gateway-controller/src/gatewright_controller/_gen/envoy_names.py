"""Names that Envoy is given. Generated from proto/envoy_names.yaml by tools/generate.py. Do not edit."""

POLICY_ENGINE_CLUSTER = "gatewright_policy_engine"
"""Written by the bootstrap, as the cluster of the engine's ext_proc server. Read by http_filters.py."""

XDS_CLUSTER = "gatewright_xds"
"""Written by the bootstrap, as the cluster of the engine's server of xDS and access logs. Read by traces.py."""

CHALLENGES_CLUSTER = "gatewright_challenges"
"""Written by the bootstrap, as the cluster of the controller's answers to challenges of ACME. Read by listeners.py and
xds/challenges.go."""

ROUTE_CONFIGURATION = "gatewright"
"""Written by xds/compose.go, as the one route configuration. Read by listeners.py, which asks for it, and
xds/gateway.go, which refuses listeners that ask for another."""

STAT_PREFIX = "gatewright"
"""Written by listeners.py and http_filters.py, as the prefix of listeners' statistics. Read by the command line's
envoy_admin.py."""

ROUTE_NAME_SEPARATOR = "|"
"""Written by the controller's translate/routes.py, between the parts of a route's name, API|OPERATION|CHAIN_ID. Read by
exchange/route.go, extproc/front.go, xds/bundle.go and proxy_answers.py."""

CHALLENGES_ROUTE = "|challenges|"
"""Written by listeners.py and xds/challenges.go, as the name of the route of challenges of ACME. Read by access
logs."""

CHALLENGE_PATH = "/.well-known/acme-challenge/"
"""Written by listeners.py and xds/challenges.go, as the prefix that routes of challenges match (RFC 8555, 8.3). Read by
the controller's acme/challenges.py."""

ESCAPED_SLASH_PATTERN = "%(?:2[Ff]|5[Cc])"
"""Written by the controller's translate/route_table.py, as RE2 of what the first route of an API without strictPaths
replaces by a slash, since upstreams decode it. Read by Envoy."""

ESCAPED_SLASH_PATH_PATTERN = ".*%(?:2[Ff]|5[Cc]).*"
"""Written by the controller's translate/route_table.py, as RE2 of the paths that the first route of an API without
strictPaths takes. Read by xds/front.go, which refuses a bundle whose first route does not take them."""

DOUBTFUL_PATH_PATTERN = ".*(?:;|%3[Bb]|%(?:2[Ff]|5[Cc])|%25[0-9A-Fa-f]{2}|%[^0-9A-Fa-f]|%[0-9A-Fa-f][^0-9A-Fa-f]).*|.*%.?"
"""Written by the controller's translate/route_table.py, as RE2 of the paths that the first route of an API with
strictPaths refuses, since upstreams read them in different ways. Read by xds/front.go, which refuses a bundle whose
first route does not take them, and the controller's resource/paths.py, which refuses operations that have them."""

CERTIFICATE_SECRET_PREFIX = "certificate/"
"""Written by sds.py and gateway_file.py, before a certificate's name. Read by xds/secrets.go."""

AUTHORITY_SECRET_PREFIX = "authority/"
"""Written by sds.py, before an authority's name. Read by xds/secrets.go."""

EXT_PROC_FILTER = "envoy.filters.http.ext_proc"
"""Written by http_filters.py, as a disabled filter, and routes.py, on the routes that enable it. Read by
xds/perroute.go and xds/gateway.go, which check both."""

ENGINE_FILTER = "gatewright.engine"
"""Written by xds/inside, beside ext_proc_filter as a disabled filter, and on the routes that enable it, of an engine
inside Envoy. Read by Envoy."""

ENGINE_MODULE = "gatewright"
"""Written by xds/inside, as the dynamic module of engine_filter, and the bootstrap, as that of the extension that
starts the engine. Read by Envoy, which loads libgatewright.so, and dynmodule, as the name of its filter."""

ACCESS_LOG_FILTER = "gatewright.access_log"
"""Written by http_filters.py, as a disabled filter that sets metadata, and routes.py, on routes whose API chooses its
lines. Read by access_logs.py, in the metadata namespace of the same name."""

LOGGED_PATH_FILTER = "gatewright.logged_path"
"""Written by http_filters.py, as a disabled filter that keeps the client's path without secrets, and routes.py, on
routes that may change the path. Read by access_logs.py, in the metadata namespace of the same name."""

CHOICE_FILTER = "gatewright.choice"
"""Written by http_filters.py, as a disabled filter behind ext_proc that looks for the route again, and its filter
state, and routes.py, as metadata of routes. Read by xds/choices.go."""

CHOICE_ROUTE_KEY = "route"
"""Written by routes.py, in a route's metadata, as the route between whose pools policies choose. Read by
http_filters.py and xds/choices.go."""

CHOICE_UPSTREAM_KEY = "upstream"
"""Written by routes.py, in a route's metadata, as the name of the route's own pool. Read by http_filters.py and
xds/choices.go."""

CHOICE_SEPARATOR = "/"
"""Written by http_filters.py, between route and pool in the filter state. Read by xds/choices.go."""

FAILOVER_CHOICE = "*"
"""Written by routes.py, as choice_upstream_key of the route for requests with several attempts, and
extproc/outgoing.go, in upstream_namespace. Read by xds/choices.go."""

ATTEMPT_FILTER = "gatewright.attempt"
"""Written by attempts.py, as a filter of clusters, and as metadata of routes. Read by attempts.lua."""

FIRST_EVENT_FILTER = "gatewright.first_event"
"""Written by attempts.py, as a filter of clusters that sends an upstream's answers to the engine. Read by Envoy."""

PEER_FILTER = "gatewright.peer"
"""Written by http_filters.py, as a filter and its filter state, the client's certificate in PEM, URL-encoded. Read by
http_filters.py, which has it sent to the engine as peer_attribute."""

UPSTREAM_PATHS_FILTER = "gatewright.upstream_paths"
"""Written by upstream_paths.py, as a filter of clusters, and routes.py, as metadata of routes. Read by
upstream_paths.lua."""

COMPRESSOR_FILTER_PREFIX = "gatewright.compressor."
"""Written by http_filters.py, before the name of an encoding. Read by Envoy's statistics."""

LISTENER_STATE = "gatewright.listener"
"""Written by listeners.py, as filter state of a connection, the name of the listener that took it. Read by
xds/listener_views.go."""

ROUTE_NAME_ATTRIBUTE = "xds.route_name"
"""Written by http_filters.py, which asks for it. Read by extproc/incoming.go."""

CLIENT_ADDRESS_ATTRIBUTE = "source.address"
"""Written by http_filters.py, which asks for it. Read by extproc/incoming.go."""

ENVOY_MINOR_ATTRIBUTE = "xds.node.user_agent_build_version.version.minor_number"
"""Written by gatewright attach, which prints a filter of another Envoy that asks for it. Read by
extproc/incoming.go."""

CLUSTER_NAME_ATTRIBUTE = "xds.cluster_name"
"""Written by attempts.py, which asks for it. Read by extproc/incoming.go, which knows the answer of an attempt by
it."""

PEER_ATTRIBUTE = "filter_state['gatewright.peer']"
"""Written by http_filters.py, which asks for it on listeners that ask for client certificates. Read by
extproc/incoming.go."""

ANALYTICS_NAMESPACE = "gatewright"
"""Written by extproc/outgoing.go, with the analytics of policies. Read by access_logs.py."""

AUTHORITY_NAMESPACE = "gatewright.authority"
"""Written by extproc/outgoing.go, with the authority that a policy chose, and routes.py, with the route's own. Read by
routes.py."""

UPSTREAM_NAMESPACE = "gatewright.upstream"
"""Written by extproc/outgoing.go, with the pool that a policy chose. Read by http_filters.py."""

ANSWERED_BY_HEADER = "x-gatewright-upstream"
"""Written by attempts.lua, in the answer of an attempt, as the pool that has answered. Read by chain/attempts.go, which
takes it out."""

FIRST_EVENT_HEADER = "x-gatewright-first-event"
"""Written by extproc/attempt.go, in the answer of an attempt whose first event is an error. Read by routes.py, whose
retry policy asks the next pool then, and which removes it from the last answer."""

ORDER_NAMESPACE = "gatewright.order"
"""Written by extproc/outgoing.go, with the pools of a request's attempts in their order, as Envoy's cluster specifier
reads it. Read by routes.py, which names it to Envoy."""

ATTEMPTS_NAMESPACE = "gatewright.attempts"
"""Written by extproc/outgoing.go, with what each attempt of a request has for itself. Read by attempts.lua."""

CHOSEN_VALUE_KEY = "value"
"""Written by extproc/outgoing.go and routes.py, in authority_namespace and upstream_namespace. Read by routes.py and
http_filters.py."""

IDENTITY_NAMESPACE = "gatewright.identity"
"""Written by extproc/outgoing.go, with who the request is from, as a policy has found it. Read by access_logs.py."""

IDENTITY_SUBJECT_KEY = "subject"
"""Written by extproc/outgoing.go, in identity_namespace. Read by access_logs.py."""

IDENTITY_ISSUER_KEY = "issuer"
"""Written by extproc/outgoing.go, in identity_namespace. Read by access_logs.py."""

IDENTITY_METHOD_KEY = "method"
"""Written by extproc/outgoing.go, in identity_namespace. Read by access_logs.py."""

IDENTITY_CONSUMER_KEY = "consumer"
"""Written by extproc/outgoing.go, in identity_namespace, where the client is a consumer of the controller. Read by
access_logs.py."""

IDENTITY_PLAN_KEY = "plan"
"""Written by extproc/outgoing.go, in identity_namespace, where the client is a consumer of the controller. Read by
access_logs.py."""

ROUTE_NAMESPACE = "gatewright.route"
"""Written by extproc/outgoing.go, of exchanges on a route that operations share. Read by access_logs.py,
proxy_answers.py and accesslog/entries."""

ROUTE_NAME_KEY = "name"
"""Written by extproc/outgoing.go, in route_namespace, the name that a route of the operation's own would have. Read by
access_logs.py, proxy_answers.py and accesslog/entries."""

TRACE_NAMESPACE = "gatewright.trace"
"""Written by extproc/trace.go, with the trace of an exchange, and traces.py, with the token of a client. Read by
access_logs.py, traces.py, extproc/trace.go and tracing/accesslog.go."""

TRACE_ID_KEY = "traceId"
"""Written by extproc/trace.go, in trace_namespace, in hexadecimal digits. Read by access_logs.py, traces.py and
tracing/accesslog.go."""

TRACE_SPAN_ID_KEY = "spanId"
"""Written by extproc/trace.go, in trace_namespace, of the exchange, in hexadecimal digits. Read by access_logs.py and
tracing/accesslog.go."""

TRACE_PARENT_ID_KEY = "parentId"
"""Written by extproc/trace.go, in trace_namespace, in hexadecimal digits. Read by tracing/accesslog.go."""

TRACE_UPSTREAM_ID_KEY = "upstreamId"
"""Written by extproc/trace.go, in trace_namespace, of the request to the upstream, in hexadecimal digits. Read by
tracing/accesslog.go."""

TRACE_STATE_KEY = "state"
"""Written by extproc/trace.go, in trace_namespace. Read by tracing/accesslog.go."""

TRACE_TOKEN_KEY = "token"
"""Written by traces.py, in trace_namespace, from trace_token_header. Read by traces.py, extproc/trace.go and
tracing/accesslog.go."""

WATCHED_NAMESPACE = "gatewright.watched"
"""Written by extproc/proxy_answer.go, of exchanges whose answer by Envoy the engine wants to know. Read by
local_replies.py."""

WATCHED_TOKEN_KEY = "token"
"""Written by extproc/proxy_answer.go, in watched_namespace. Read by local_replies.py."""

UPGRADE_NAMESPACE = "gatewright.upgrade"
"""Written by routes.py, as metadata of routes that refuse WebSockets. Read by access_logs.py."""

OWN_HEADER_PREFIX = "x-gatewright-"
"""Written by Gatewright alone. Read by removed_headers.py, which removes the headers of clients that begin so, and the
controller's validation/matches.py."""

PROXY_ANSWER_HEADER = "x-gatewright-proxy-answer"
"""Written by local_replies.py, on Envoy's own answers to watched exchanges. Read by extproc/proxy_answer.go, which
removes it."""

TRACE_TOKEN_HEADER = "x-gatewright-trace"
"""Written by clients that want a trace. Read by traces.py, which removes it, and the controller's model/redaction.py,
as a secret."""

ANSWERS_LOG = "answers"
"""Written by proxy_answers.py, as the log of what Envoy answered by itself. Read by accesslog/answers.go."""

TRACES_LOG = "traces"
"""Written by traces.py, as the log of exchanges that are traced. Read by tracing/accesslog.go."""

METHOD_TAG = "method"
"""Written by proxy_answers.py and traces.py. Read by accesslog/answers.go and tracing/accesslog.go."""

PATH_TAG = "path"
"""Written by proxy_answers.py and traces.py. Read by accesslog/answers.go and tracing/accesslog.go."""

AUTHORITY_TAG = "authority"
"""Written by proxy_answers.py and traces.py. Read by accesslog/answers.go and tracing/accesslog.go."""

FLAGS_TAG = "flags"
"""Written by proxy_answers.py and traces.py. Read by accesslog/answers.go and tracing/accesslog.go."""

LISTENER_TAG = "listener"
"""Written by proxy_answers.py. Read by accesslog/answers.go."""

TRACEPARENT_TAG = "traceparent"
"""Written by traces.py. Read by tracing/accesslog.go."""

TRACESTATE_TAG = "tracestate"
"""Written by traces.py. Read by tracing/accesslog.go."""

OTHER_HOSTS_RULE = "other-hosts"
"""Written by http_filters.py, as the rule that refuses requests for hosts that the listener does not have. Read by
local_replies.py and proxyanswer/rules.go, in the details of the refusal."""

OTHER_SERVER_NAMES_RULE = "other-server-names"
"""Written by http_filters.py, as the rule that refuses requests for hosts that ask for other client certificates. Read
by local_replies.py and proxyanswer/rules.go, in the details of the refusal."""

POLICY_DETAILS_PREFIX = "policy_"
"""Written by chain/response.go, before the details of what policies answer and of their failures. Read by
local_replies.py and recording/draft.go."""

HEADERS_TOO_LARGE_DETAILS = "headers_too_large"
"""Written by chain/limits.go. Read by local_replies.py."""

REQUEST_TIMEOUT_DETAILS = "request_overall_timeout"
"""Written by chain/gathering.go, of a request whose body did not come in time. Read by local_replies.py."""

ACCESS_LOG_SAMPLE_KEY = "gatewright.access_log.sample"
"""Written by operators. Read by access_logs.py."""

ACCESS_LOG_ERRORS_KEY = "gatewright.access_log.errors"
"""Written by operators. Read by access_logs.py."""

TRACES_SAMPLE_KEY = "gatewright.traces.sample"
"""Written by operators. Read by traces.py."""

ANSWERS_STATUS_KEY = "gatewright.answers"
"""Written by operators. Read by proxy_answers.py."""
