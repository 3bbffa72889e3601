package proxyanswer

import (
	"slices"
	"strings"

	"gatewright.dev/policy-engine/gen/envoynames"
)

// rule is one cause. The first rule that fits an answer explains it: by a flag, if the rule has any; by the beginning
// of the details or a part of the transport's failure, if it has any; by the route's name, if it needs one.
type rule struct {
	code         string
	party        Party
	flags        []string // one of these is set
	details      []string // the details begin with one of these
	transport    []string // the connection's failure, or the details, contain one of these; "_" is also a blank
	status       int      // 0: any
	routed       bool     // the answer has a route
	refusing     bool     // the route refuses requests: it has a status in place of the operation
	unresolved   bool     // no chain of the API runs, since a name does not resolve
	reason, cure string
}

// NoRoute is the code of a request that matches no route.
const NoRoute = "no_route"

// nameUnresolved is the code if the name of an upstream does not resolve: at a request, or when its API starts.
const nameUnresolved = "name_unresolved"

// deniedBy begins the details of what Envoy's RBAC filter refuses; the name of the rule and "]" follow.
const deniedBy = "rbac_access_denied_matched_policy["

const (
	spec   = "spec.upstream"
	config = "spec.limits of the Gateway"

	curedName = "correct the name in " + spec + ", or the node's DNS"
)

// rules are in the order in which they are tried.
var rules = []rule{
	// ------------------------------------------------ the connection to the upstream
	{code: "certificate_untrusted", party: Upstream, flags: []string{"UF"}, transport: []string{"CERTIFICATE_VERIFY_FAILED", "verify_cert", "verify_SAN"},
		reason: "the certificate of {upstream} is not trusted{transport}",
		cure:   "name the authority that has signed it in tls.authority of the pool, or have the upstream present a certificate for the name in its URL"},
	{code: "tls_failed", party: Upstream, flags: []string{"UF"}, transport: []string{"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"},
		reason: "{upstream} does not speak TLS{transport}",
		cure:   "write http:// in its URL in " + spec + ", or enable TLS at the upstream"},
	{code: "tls_failed", party: Upstream, flags: []string{"UF", "UC"}, transport: []string{"TLS_error"},
		reason: "the TLS handshake with {upstream} failed{transport}",
		cure:   "compare the upstream's TLS versions, its certificate, and whether it requires a client certificate, with tls of the pool in " + spec},
	{code: "connection_refused", party: Upstream, flags: []string{"UF"}, transport: []string{"Connection_refused", "delayed_connect_error:_111"},
		reason: "{upstream} refused the connection",
		cure:   "start the upstream, or correct its address in " + spec},
	{code: "connection_timeout", party: Upstream, flags: []string{"UF"}, transport: []string{"connection_timeout", "connect_timeout"},
		reason: "{upstream} did not accept the connection within connectTimeout",
		cure:   "check that the node can reach it: its address in " + spec + ", routes and firewalls"},
	{code: "connection_failed", party: Upstream, flags: []string{"UF"},
		reason: "the gateway could not connect to {upstream}{transport}",
		cure:   "check that the node can reach it: its address in " + spec + ", routes and firewalls"},
	{code: "no_healthy_target", party: Upstream, flags: []string{"UH"},
		reason: "no target of the pool is healthy",
		cure:   "see which targets fail, and why: gatewright status; then check healthCheck and ejection in " + spec},
	{code: nameUnresolved, party: Upstream, flags: []string{"DF"},
		reason: "the upstream's name did not resolve", cure: curedName},
	{code: "circuit_breaker", party: Gateway, flags: []string{"UO"},
		reason: "{upstream} has reached the limit of its circuit breaker",
		cure:   "raise circuitBreaker of the pool in " + spec + ", or make the upstream faster"},

	// ------------------------------------------------ the upstream's answer
	{code: "upstream_timeout", party: Upstream, flags: []string{"UT"},
		reason: "{upstream} did not begin to answer within requestTimeout",
		cure:   "see why the upstream is slow, or raise requestTimeout of the operation"},
	{code: "malformed_response", party: Upstream, flags: []string{"UPE"},
		reason: "the answer of {upstream} is malformed, or its headers are too many or too large",
		cure:   "see what the upstream sends: {details}"},
	{code: "response_cut", party: Upstream, details: []string{"upstream_reset_after_response_started"},
		reason: "{upstream} ended in the middle of its answer", cure: "see in the upstream's log why it ended the answer"},
	{code: "upstream_closed", party: Upstream, flags: []string{"UC", "LR"},
		reason: "{upstream} closed the connection before it had answered{transport}",
		cure:   "see in the upstream's log why it ended the connection; where it closes idle ones, retries: true sends the request once more"},
	{code: "upstream_reset", party: Upstream, flags: []string{"UR"},
		reason: "{upstream} reset the request", cure: "see in the upstream's log why it refused the stream"},
	{code: "retries_failed", party: Upstream, flags: []string{"URX"},
		reason: "{upstream} failed, and so did the operation's retries", cure: "see in the upstream's log why it failed"},

	// ------------------------------------------------ times
	{code: "idle_timeout", party: Client, flags: []string{"SI"}, status: 408,
		reason: "nothing of the request came within idleTimeout", cure: "find out why the client stopped sending, or raise idleTimeout of the operation"},
	{code: "idle_timeout", party: Upstream, flags: []string{"SI"},
		reason: "nothing came from {upstream} within idleTimeout", cure: "see why the upstream is slow, or raise idleTimeout of the operation"},
	{code: "stream_timeout", party: Gateway, flags: []string{"DT"}, details: []string{"max_duration_timeout"},
		reason: "the exchange took longer than streamTimeout", cure: "raise streamTimeout of the operation"},

	// ------------------------------------------------ the gateway's own state
	{code: "overloaded", party: Gateway, flags: []string{"OM"},
		reason: "the gateway has no memory left for more requests", cure: "give it more (--memory), or send it less load"},
	{code: "no_cluster", party: Gateway, flags: []string{"NC"},
		reason: "Envoy does not have the route's upstream", cure: "see whether the node has the API as it is published: gatewright status"},
	{code: "engine_away", party: Gateway, details: []string{"ext_proc_error"},
		reason: "the policy engine did not answer", cure: "see whether it runs, and its log: gatewright status"},
	{code: nameUnresolved, party: Upstream, status: 503, refusing: true, unresolved: true,
		reason: "the API {api} cannot be served at present: the name {unresolved} of its upstream does not resolve", cure: curedName},
	{code: "api_unavailable", party: Gateway, status: 503, refusing: true,
		reason: "the API {api} cannot be served at present{obstacle}", cure: "see why: gatewright status"},

	// ------------------------------------------------ requests that no operation takes
	{code: NoRoute, party: Client, flags: []string{"NR"}, details: []string{"route_not_found"}, reason: "no API has the path {path} on the host {authority}",
		cure: "correct the path, or publish an API whose context contains it"},
	{code: "method_not_allowed", party: Client, status: 405, refusing: true,
		reason: "no operation of the API {api} takes {method} at this path", cure: "use a method of the answer's Allow header, or add the operation to the API"},
	{code: "no_match", party: Client, status: 404, refusing: true,
		reason: "the operations of the API {api} at this path ask for headers or parameters that the request does not have",
		cure:   "send the headers and parameters that one of the operations asks for"},
	{code: "malformed_path", party: Client, status: 400, refusing: true,
		reason: "the path or the query can be read in several ways", cure: "send each parameter once, and no escaped slash or ';' in the path"},
	{code: "unknown_host", party: Client, details: []string{deniedBy + envoynames.OtherHostsRule + "]"},
		reason: "the listener does not serve the host {authority}", cure: "use one of the listener's hosts, or add the host to the listener in the Gateway"},
	{code: "other_server_name", party: Client, details: []string{deniedBy + envoynames.OtherServerNamesRule + "]"},
		reason: "the host {authority} asks for other client certificates than the server name (SNI) of the connection",
		cure:   "have the client open a connection whose server name is the request's host; clientCertificatesByHost of the listener in the Gateway says which certificates it asks for"},
	{code: "rate_limited", party: Client, details: []string{"local_rate_limited"},
		reason: "more requests came on one connection than " + config + " lets it make in a second",
		cure:   "have the client make fewer, or raise requestsPerSecond in " + config},
	{code: "upgrade_refused", party: Client, details: []string{"upgrade_failed"},
		reason: "the operation does not upgrade connections to the protocol that the request names", cure: "set websocket: true for the operation"},
	{code: "headers_too_large", party: Client, status: 431,
		reason: "the request's headers are too many or too large", cure: "send fewer, or raise headerCount and headerBytes in " + config},
	{code: "configured", party: Gateway, details: []string{"direct_response"}, routed: true,
		reason: "the operation has an answer or a redirect of its own"},
	{code: "malformed_request", party: Client, details: []string{"direct_response"}, status: 400,
		reason: "the request has two Host headers", cure: "fix the client: RFC 9112, section 3.2, allows one"},
	{code: "malformed_request", party: Client, flags: []string{"DPE"}, reason: "the request is malformed ({details})", cure: "fix the client: its host, its path, its headers or its body"},
	{code: "malformed_request", party: Client, status: 400, reason: "the request is malformed ({details})", cure: "fix the client: its host, its path, its headers or its body"},
	{code: "request_timeout", party: Client, status: 408, reason: "the request did not arrive completely in time", cure: "have the client send the whole request"},
	{code: "other", party: Gateway, reason: "it could not handle the request ({details})"},
}

func ruleOf(a *Answer) *rule {
	for n := range rules {
		if rules[n].fits(a) {
			return &rules[n]
		}
	}
	return &rules[len(rules)-1]
}

func (r *rule) fits(a *Answer) bool {
	begins := func(prefix string) bool { return strings.HasPrefix(a.Details, prefix) }
	transport := strings.ReplaceAll(a.Transport, " ", "_") // Envoy writes it in both ways
	names := func(part string) bool { return strings.Contains(transport, part) || strings.Contains(a.Details, part) }
	flagged := len(r.flags) > 0 && slices.ContainsFunc(r.flags, a.hasFlag) || len(r.details) > 0 && slices.ContainsFunc(r.details, begins)
	return (flagged || len(r.flags)+len(r.details) == 0) &&
		(len(r.transport) == 0 || slices.ContainsFunc(r.transport, names)) &&
		(r.status == 0 || r.status == a.Status) &&
		(!r.routed || a.API != "") &&
		(!r.refusing || a.API != "" && isStatus(a.Operation)) &&
		(!r.unresolved || a.Unresolved != "")
}

// isStatus reports whether a route's operation is a status with which the route refuses requests: "API|405|".
func isStatus(operation string) bool {
	return len(operation) == 3 && strings.Trim(operation, "0123456789") == ""
}
