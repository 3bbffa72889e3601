// Code generated from proto/envoy_names.yaml by tools/generate.py. DO NOT EDIT.

// Package envoynames has the names that Envoy is given, which the controller has as well.
package envoynames

const (
	// PolicyEngineCluster: written by the bootstrap, as the cluster of the engine's ext_proc server. Read by
	// http_filters.py.
	PolicyEngineCluster = "gatewright_policy_engine"

	// XDSCluster: written by the bootstrap, as the cluster of the engine's server of xDS and access logs. Read by
	// traces.py.
	XDSCluster = "gatewright_xds"

	// ChallengesCluster: written by the bootstrap, as the cluster of the controller's answers to challenges of ACME. Read
	// by listeners.py and xds/challenges.go.
	ChallengesCluster = "gatewright_challenges"

	// RouteConfiguration: written by xds/compose.go, as the one route configuration. Read by listeners.py, which asks for
	// it, and xds/gateway.go, which refuses listeners that ask for another.
	RouteConfiguration = "gatewright"

	// StatPrefix: written by listeners.py and http_filters.py, as the prefix of listeners' statistics. Read by the command
	// line's envoy_admin.py.
	StatPrefix = "gatewright"

	// RouteNameSeparator: written by the controller's translate/routes.py, between the parts of a route's name,
	// API|OPERATION|CHAIN_ID. Read by exchange/route.go, extproc/front.go, xds/bundle.go and proxy_answers.py.
	RouteNameSeparator = "|"

	// ChallengesRoute: written by listeners.py and xds/challenges.go, as the name of the route of challenges of ACME. Read
	// by access logs.
	ChallengesRoute = "|challenges|"

	// ChallengePath: written by listeners.py and xds/challenges.go, as the prefix that routes of challenges match (RFC
	// 8555, 8.3). Read by the controller's acme/challenges.py.
	ChallengePath = "/.well-known/acme-challenge/"

	// EscapedSlashPattern: written by the controller's translate/route_table.py, as RE2 of what the first route of an API
	// without strictPaths replaces by a slash, since upstreams decode it. Read by Envoy.
	EscapedSlashPattern = "%(?:2[Ff]|5[Cc])"

	// EscapedSlashPathPattern: written by the controller's translate/route_table.py, as RE2 of the paths that the first
	// route of an API without strictPaths takes. Read by xds/front.go, which refuses a bundle whose first route does not
	// take them.
	EscapedSlashPathPattern = ".*%(?:2[Ff]|5[Cc]).*"

	// DoubtfulPathPattern: written by the controller's translate/route_table.py, as RE2 of the paths that the first route
	// of an API with strictPaths refuses, since upstreams read them in different ways. Read by xds/front.go, which refuses
	// a bundle whose first route does not take them, and the controller's resource/paths.py, which refuses operations that
	// have them.
	DoubtfulPathPattern = ".*(?:;|%3[Bb]|%(?:2[Ff]|5[Cc])|%25[0-9A-Fa-f]{2}|%[^0-9A-Fa-f]|%[0-9A-Fa-f][^0-9A-Fa-f]).*|.*%.?"

	// CertificateSecretPrefix: written by sds.py and gateway_file.py, before a certificate's name. Read by xds/secrets.go.
	CertificateSecretPrefix = "certificate/"

	// AuthoritySecretPrefix: written by sds.py, before an authority's name. Read by xds/secrets.go.
	AuthoritySecretPrefix = "authority/"

	// ExtProcFilter: written by http_filters.py, as a disabled filter, and routes.py, on the routes that enable it. Read
	// by xds/perroute.go and xds/gateway.go, which check both.
	ExtProcFilter = "envoy.filters.http.ext_proc"

	// EngineFilter: written by xds/inside, beside ext_proc_filter as a disabled filter, and on the routes that enable it,
	// of an engine inside Envoy. Read by Envoy.
	EngineFilter = "gatewright.engine"

	// EngineModule: written by xds/inside, as the dynamic module of engine_filter, and the bootstrap, as that of the
	// extension that starts the engine. Read by Envoy, which loads libgatewright.so, and dynmodule, as the name of its
	// filter.
	EngineModule = "gatewright"

	// AccessLogFilter: written by http_filters.py, as a disabled filter that sets metadata, and routes.py, on routes whose
	// API chooses its lines. Read by access_logs.py, in the metadata namespace of the same name.
	AccessLogFilter = "gatewright.access_log"

	// LoggedPathFilter: written by http_filters.py, as a disabled filter that keeps the client's path without secrets, and
	// routes.py, on routes that may change the path. Read by access_logs.py, in the metadata namespace of the same name.
	LoggedPathFilter = "gatewright.logged_path"

	// ChoiceFilter: written by http_filters.py, as a disabled filter behind ext_proc that looks for the route again, and
	// its filter state, and routes.py, as metadata of routes. Read by xds/choices.go.
	ChoiceFilter = "gatewright.choice"

	// ChoiceRouteKey: written by routes.py, in a route's metadata, as the route between whose pools policies choose. Read
	// by http_filters.py and xds/choices.go.
	ChoiceRouteKey = "route"

	// ChoiceUpstreamKey: written by routes.py, in a route's metadata, as the name of the route's own pool. Read by
	// http_filters.py and xds/choices.go.
	ChoiceUpstreamKey = "upstream"

	// ChoiceSeparator: written by http_filters.py, between route and pool in the filter state. Read by xds/choices.go.
	ChoiceSeparator = "/"

	// FailoverChoice: written by routes.py, as choice_upstream_key of the route for requests with several attempts, and
	// extproc/outgoing.go, in upstream_namespace. Read by xds/choices.go.
	FailoverChoice = "*"

	// AttemptFilter: written by attempts.py, as a filter of clusters, and as metadata of routes. Read by attempts.lua.
	AttemptFilter = "gatewright.attempt"

	// FirstEventFilter: written by attempts.py, as a filter of clusters that sends an upstream's answers to the engine.
	// Read by Envoy.
	FirstEventFilter = "gatewright.first_event"

	// PeerFilter: written by http_filters.py, as a filter and its filter state, the client's certificate in PEM, URL-
	// encoded. Read by http_filters.py, which has it sent to the engine as peer_attribute.
	PeerFilter = "gatewright.peer"

	// UpstreamPathsFilter: written by upstream_paths.py, as a filter of clusters, and routes.py, as metadata of routes.
	// Read by upstream_paths.lua.
	UpstreamPathsFilter = "gatewright.upstream_paths"

	// CompressorFilterPrefix: written by http_filters.py, before the name of an encoding. Read by Envoy's statistics.
	CompressorFilterPrefix = "gatewright.compressor."

	// ListenerState: written by listeners.py, as filter state of a connection, the name of the listener that took it. Read
	// by xds/listener_views.go.
	ListenerState = "gatewright.listener"

	// RouteNameAttribute: written by http_filters.py, which asks for it. Read by extproc/incoming.go.
	RouteNameAttribute = "xds.route_name"

	// ClientAddressAttribute: written by http_filters.py, which asks for it. Read by extproc/incoming.go.
	ClientAddressAttribute = "source.address"

	// EnvoyMinorAttribute: written by gatewright attach, which prints a filter of another Envoy that asks for it. Read by
	// extproc/incoming.go.
	EnvoyMinorAttribute = "xds.node.user_agent_build_version.version.minor_number"

	// ClusterNameAttribute: written by attempts.py, which asks for it. Read by extproc/incoming.go, which knows the answer
	// of an attempt by it.
	ClusterNameAttribute = "xds.cluster_name"

	// PeerAttribute: written by http_filters.py, which asks for it on listeners that ask for client certificates. Read by
	// extproc/incoming.go.
	PeerAttribute = "filter_state['gatewright.peer']"

	// AnalyticsNamespace: written by extproc/outgoing.go, with the analytics of policies. Read by access_logs.py.
	AnalyticsNamespace = "gatewright"

	// AuthorityNamespace: written by extproc/outgoing.go, with the authority that a policy chose, and routes.py, with the
	// route's own. Read by routes.py.
	AuthorityNamespace = "gatewright.authority"

	// UpstreamNamespace: written by extproc/outgoing.go, with the pool that a policy chose. Read by http_filters.py.
	UpstreamNamespace = "gatewright.upstream"

	// AnsweredByHeader: written by attempts.lua, in the answer of an attempt, as the pool that has answered. Read by
	// chain/attempts.go, which takes it out.
	AnsweredByHeader = "x-gatewright-upstream"

	// FirstEventHeader: written by extproc/attempt.go, in the answer of an attempt whose first event is an error. Read by
	// routes.py, whose retry policy asks the next pool then, and which removes it from the last answer.
	FirstEventHeader = "x-gatewright-first-event"

	// OrderNamespace: written by extproc/outgoing.go, with the pools of a request's attempts in their order, as Envoy's
	// cluster specifier reads it. Read by routes.py, which names it to Envoy.
	OrderNamespace = "gatewright.order"

	// AttemptsNamespace: written by extproc/outgoing.go, with what each attempt of a request has for itself. Read by
	// attempts.lua.
	AttemptsNamespace = "gatewright.attempts"

	// ChosenValueKey: written by extproc/outgoing.go and routes.py, in authority_namespace and upstream_namespace. Read by
	// routes.py and http_filters.py.
	ChosenValueKey = "value"

	// IdentityNamespace: written by extproc/outgoing.go, with who the request is from, as a policy has found it. Read by
	// access_logs.py.
	IdentityNamespace = "gatewright.identity"

	// IdentitySubjectKey: written by extproc/outgoing.go, in identity_namespace. Read by access_logs.py.
	IdentitySubjectKey = "subject"

	// IdentityIssuerKey: written by extproc/outgoing.go, in identity_namespace. Read by access_logs.py.
	IdentityIssuerKey = "issuer"

	// IdentityMethodKey: written by extproc/outgoing.go, in identity_namespace. Read by access_logs.py.
	IdentityMethodKey = "method"

	// IdentityConsumerKey: written by extproc/outgoing.go, in identity_namespace, where the client is a consumer of the
	// controller. Read by access_logs.py.
	IdentityConsumerKey = "consumer"

	// IdentityPlanKey: written by extproc/outgoing.go, in identity_namespace, where the client is a consumer of the
	// controller. Read by access_logs.py.
	IdentityPlanKey = "plan"

	// RouteNamespace: written by extproc/outgoing.go, of exchanges on a route that operations share. Read by
	// access_logs.py, proxy_answers.py and accesslog/entries.
	RouteNamespace = "gatewright.route"

	// RouteNameKey: written by extproc/outgoing.go, in route_namespace, the name that a route of the operation's own would
	// have. Read by access_logs.py, proxy_answers.py and accesslog/entries.
	RouteNameKey = "name"

	// TraceNamespace: written by extproc/trace.go, with the trace of an exchange, and traces.py, with the token of a
	// client. Read by access_logs.py, traces.py, extproc/trace.go and tracing/accesslog.go.
	TraceNamespace = "gatewright.trace"

	// TraceIDKey: written by extproc/trace.go, in trace_namespace, in hexadecimal digits. Read by access_logs.py,
	// traces.py and tracing/accesslog.go.
	TraceIDKey = "traceId"

	// TraceSpanIDKey: written by extproc/trace.go, in trace_namespace, of the exchange, in hexadecimal digits. Read by
	// access_logs.py and tracing/accesslog.go.
	TraceSpanIDKey = "spanId"

	// TraceParentIDKey: written by extproc/trace.go, in trace_namespace, in hexadecimal digits. Read by
	// tracing/accesslog.go.
	TraceParentIDKey = "parentId"

	// TraceUpstreamIDKey: written by extproc/trace.go, in trace_namespace, of the request to the upstream, in hexadecimal
	// digits. Read by tracing/accesslog.go.
	TraceUpstreamIDKey = "upstreamId"

	// TraceStateKey: written by extproc/trace.go, in trace_namespace. Read by tracing/accesslog.go.
	TraceStateKey = "state"

	// TraceTokenKey: written by traces.py, in trace_namespace, from trace_token_header. Read by traces.py,
	// extproc/trace.go and tracing/accesslog.go.
	TraceTokenKey = "token"

	// WatchedNamespace: written by extproc/proxy_answer.go, of exchanges whose answer by Envoy the engine wants to know.
	// Read by local_replies.py.
	WatchedNamespace = "gatewright.watched"

	// WatchedTokenKey: written by extproc/proxy_answer.go, in watched_namespace. Read by local_replies.py.
	WatchedTokenKey = "token"

	// UpgradeNamespace: written by routes.py, as metadata of routes that refuse WebSockets. Read by access_logs.py.
	UpgradeNamespace = "gatewright.upgrade"

	// OwnHeaderPrefix: written by Gatewright alone. Read by removed_headers.py, which removes the headers of clients that
	// begin so, and the controller's validation/matches.py.
	OwnHeaderPrefix = "x-gatewright-"

	// ProxyAnswerHeader: written by local_replies.py, on Envoy's own answers to watched exchanges. Read by
	// extproc/proxy_answer.go, which removes it.
	ProxyAnswerHeader = "x-gatewright-proxy-answer"

	// TraceTokenHeader: written by clients that want a trace. Read by traces.py, which removes it, and the controller's
	// model/redaction.py, as a secret.
	TraceTokenHeader = "x-gatewright-trace"

	// AnswersLog: written by proxy_answers.py, as the log of what Envoy answered by itself. Read by accesslog/answers.go.
	AnswersLog = "answers"

	// TracesLog: written by traces.py, as the log of exchanges that are traced. Read by tracing/accesslog.go.
	TracesLog = "traces"

	// MethodTag: written by proxy_answers.py and traces.py. Read by accesslog/answers.go and tracing/accesslog.go.
	MethodTag = "method"

	// PathTag: written by proxy_answers.py and traces.py. Read by accesslog/answers.go and tracing/accesslog.go.
	PathTag = "path"

	// AuthorityTag: written by proxy_answers.py and traces.py. Read by accesslog/answers.go and tracing/accesslog.go.
	AuthorityTag = "authority"

	// FlagsTag: written by proxy_answers.py and traces.py. Read by accesslog/answers.go and tracing/accesslog.go.
	FlagsTag = "flags"

	// ListenerTag: written by proxy_answers.py. Read by accesslog/answers.go.
	ListenerTag = "listener"

	// TraceparentTag: written by traces.py. Read by tracing/accesslog.go.
	TraceparentTag = "traceparent"

	// TracestateTag: written by traces.py. Read by tracing/accesslog.go.
	TracestateTag = "tracestate"

	// OtherHostsRule: written by http_filters.py, as the rule that refuses requests for hosts that the listener does not
	// have. Read by local_replies.py and proxyanswer/rules.go, in the details of the refusal.
	OtherHostsRule = "other-hosts"

	// OtherServerNamesRule: written by http_filters.py, as the rule that refuses requests for hosts that ask for other
	// client certificates. Read by local_replies.py and proxyanswer/rules.go, in the details of the refusal.
	OtherServerNamesRule = "other-server-names"

	// PolicyDetailsPrefix: written by chain/response.go, before the details of what policies answer and of their failures.
	// Read by local_replies.py and recording/draft.go.
	PolicyDetailsPrefix = "policy_"

	// HeadersTooLargeDetails: written by chain/limits.go. Read by local_replies.py.
	HeadersTooLargeDetails = "headers_too_large"

	// RequestTimeoutDetails: written by chain/gathering.go, of a request whose body did not come in time. Read by
	// local_replies.py.
	RequestTimeoutDetails = "request_overall_timeout"

	// AccessLogSampleKey: written by operators. Read by access_logs.py.
	AccessLogSampleKey = "gatewright.access_log.sample"

	// AccessLogErrorsKey: written by operators. Read by access_logs.py.
	AccessLogErrorsKey = "gatewright.access_log.errors"

	// TracesSampleKey: written by operators. Read by traces.py.
	TracesSampleKey = "gatewright.traces.sample"

	// AnswersStatusKey: written by operators. Read by proxy_answers.py.
	AnswersStatusKey = "gatewright.answers"
)
