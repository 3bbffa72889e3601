package proxyanswer_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"gatewright.dev/policy-engine/internal/proxyanswer"
)

// TestCauses: the details are Envoy's own words.
func TestCauses(t *testing.T) {
	const reset = "upstream_reset_before_response_started"
	routed := func(a proxyanswer.Answer) proxyanswer.Answer {
		a.API, a.Operation, a.Upstream = "orders", "GET /{id}", "192.0.2.1:80"
		return a
	}
	refusing := func(status int, operation string) proxyanswer.Answer {
		return proxyanswer.Answer{Status: status, Details: "direct_response", API: "orders", Operation: operation, Method: "PUT"}
	}
	unserved := func(obstacle, unresolved string) proxyanswer.Answer {
		a := refusing(503, "503")
		a.Obstacle, a.Unresolved = obstacle, unresolved
		return a
	}
	for want, answer := range map[string]proxyanswer.Answer{
		"upstream connection_refused: the upstream 192.0.2.1:80 refused the connection": routed(proxyanswer.Answer{
			Status: 503, Flags: "UF", Details: reset + "{remote_connection_failure|delayed_connect_error:_Connection_refused}"}),
		"upstream connection_failed: the gateway could not connect to the upstream 192.0.2.1:80 (delayed connect error: No route to host)": routed(proxyanswer.Answer{
			Status: 503, Flags: "URX,UF", Details: reset + "{remote_connection_failure}", Transport: "delayed connect error: No route to host"}),
		"upstream certificate_untrusted: the certificate of the upstream 192.0.2.1:80 is not trusted (TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED)": routed(proxyanswer.Answer{
			Status: 503, Flags: "UF", Details: reset, Transport: "TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED"}),
		"upstream tls_failed: the TLS handshake with the upstream 192.0.2.1:80 failed (TLS_error:|268436496:HANDSHAKE_FAILURE)": routed(proxyanswer.Answer{
			Status: 503, Flags: "UF", Details: reset, Transport: "TLS_error:|268436496:HANDSHAKE_FAILURE"}),
		"upstream connection_timeout: the upstream 192.0.2.1:80 did not accept the connection within connectTimeout": routed(proxyanswer.Answer{
			Status: 503, Flags: "UF", Details: reset + "{connection_timeout}"}),
		"upstream upstream_timeout: the upstream 192.0.2.1:80 did not begin to answer within requestTimeout": routed(proxyanswer.Answer{
			Status: 504, Flags: "UT", Details: "upstream_per_try_timeout"}),
		"upstream no_healthy_target: no target of the pool is healthy":          {Status: 503, Flags: "UH", Details: "no_healthy_upstream", API: "orders"},
		"upstream response_cut: the upstream ended in the middle of its answer": {Status: 200, Flags: "UC", Details: "upstream_reset_after_response_started{connection_termination}"},
		"gateway circuit_breaker: the upstream has reached the limit of its circuit breaker": {
			Status: 503, Flags: "UO", Details: reset + "{overflow}"},
		"client idle_timeout: nothing of the request came within idleTimeout":                                   {Status: 408, Flags: "SI", Details: "stream_idle_timeout"},
		"client no_route: no API has the path /oders on the host a.example":                                     {Status: 404, Flags: "NR", Details: "route_not_found", Path: "/oders", Authority: "a.example"},
		"client method_not_allowed: no operation of the API orders takes PUT at this path":                      refusing(405, "405"),
		"gateway api_unavailable: the API orders cannot be served at present":                                   refusing(503, "503"),
		"gateway api_unavailable: the API orders cannot be served at present: no policy a:v1.0.0 in this build": unserved("no policy a:v1.0.0 in this build", ""),
		"upstream name_unresolved: the API orders cannot be served at present: the name nowhere.example of its upstream does not resolve": unserved(
			"upstream: the name nowhere.example does not resolve: no such host", "nowhere.example"),
		"gateway configured: the operation has an answer or a redirect of its own": refusing(405, "GET /old"),
		"client malformed_request: the request has two Host headers":               {Status: 400, Details: "direct_response"},
		"client malformed_request: the request is malformed (http1.codec_error)":   {Status: 400, Flags: "DPE", Details: "http1.codec_error"},
		"client unknown_host: the listener does not serve the host b.example":      {Status: 421, Details: "rbac_access_denied_matched_policy[other-hosts]", Authority: "b.example"},
		"client other_server_name: the host b.example asks for other client certificates than the server name (SNI) of the connection": {
			Status: 421, Details: "rbac_access_denied_matched_policy[other-server-names]", Authority: "b.example"},
		"gateway engine_away: the policy engine did not answer":                                         {Status: 503, Details: "ext_proc_error_gRPC_error_14"},
		"gateway other: it could not handle the request (something_new)":                                {Status: 502, Details: "something_new"},
		"upstream retries_failed: the upstream 192.0.2.1:80 failed, and so did the operation's retries": routed(proxyanswer.Answer{Status: 503, Flags: "URX"}),
	} {
		cause := proxyanswer.Explain(&answer)
		if got := string(cause.Party) + " " + cause.Code + ": " + cause.Reason; got != want {
			t.Errorf("%s, %s: expected\n  %s\ngot\n  %s", answer.Flags, answer.Details, want, got)
		}
		if cause.Cure == "" && cause.Party != proxyanswer.Gateway || strings.Contains(cause.Cure, "{") {
			t.Errorf("%s: expected a cure, got %q", want, cause.Cure)
		}
	}
}

// TestTheCounterForgets the counts of an API that is removed, and counts answers beyond the bound as other.
func TestTheCounterForgets(t *testing.T) {
	counter := proxyanswer.NewCounter()
	for _, api := range []string{"orders", "orders", "", "users"} {
		cause := proxyanswer.Explain(&proxyanswer.Answer{Status: 503, Flags: "UF"})
		counter.Add(api, &cause)
	}
	counter.SetMaxSeries(3)
	beyond := proxyanswer.Explain(&proxyanswer.Answer{Status: 503, Flags: "UF"})
	counter.Add("one more", &beyond)
	counter.APIRemoved("users")
	registry := prometheus.NewRegistry()
	registry.MustRegister(counter)
	families, err := registry.Gather()
	if err != nil || len(families) != 1 {
		t.Fatalf("expected one metric, got %v, %v", families, err)
	}
	got := map[string]float64{}
	for _, metric := range families[0].GetMetric() {
		labels := ""
		for _, label := range metric.GetLabel() {
			labels += label.GetName() + "=" + label.GetValue() + " "
		}
		got[labels] = metric.GetCounter().GetValue()
	}
	want := map[string]float64{"api= party=upstream reason=connection_failed ": 1, "api=orders party=upstream reason=connection_failed ": 2, "api=other party=upstream reason=connection_failed ": 1}
	if !maps.Equal(got, want) {
		t.Errorf("expected %v, got %v", want, got)
	}
}
