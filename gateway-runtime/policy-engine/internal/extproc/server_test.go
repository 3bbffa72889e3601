package extproc_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"gatewright.dev/policy-engine/internal/await"
)

func TestOrderAndUnwinding(t *testing.T) {
	everyWire(t, func(t *testing.T, w wire) {
		reply, arrived := do(t, w.upstream, w.h2c, nil, "GET", "/order/x?q=1", nil)
		if got := arrived.Header.Values("X-Order"); !reflect.DeepEqual(got, []string{"first", "second"}) {
			t.Errorf("request: %v", got)
		}
		if got := reply.Header.Values("X-Order"); !reflect.DeepEqual(got, []string{"second", "first"}) {
			t.Errorf("response: %v", got)
		}
		if arrived.URI != "/order/x?q=1" {
			t.Errorf("path: %s", arrived.URI)
		}
	})
}

func TestHeaderChanges(t *testing.T) {
	everyWire(t, func(t *testing.T, w wire) {
		reply, arrived := do(t, w.upstream, w.h2c, func(r *http.Request) {
			r.Header["X-Set"] = []string{"old", "older"}
			r.Header["X-Remove"] = []string{"a", "b"}
			r.Header["X-Append"] = []string{"old"}
			r.Header.Set("Cookie", "a=1; b=2")
		}, "GET", "/headers/x", nil)
		for name, want := range map[string][]string{
			"X-Set": {"1", "2"}, "X-Remove": nil, "X-Append": {"old", "new"}, "X-Bytes": {"\xff\xfe"}, "X-Empty": {""},
		} {
			if got := arrived.Header.Values(name); !reflect.DeepEqual(got, want) {
				t.Errorf("%s: expected %q, got %q", name, want, got)
			}
		}
		if got := strings.Join(arrived.Header.Values("Cookie"), "; "); got != "a=1; b=2; c=3" {
			t.Errorf("Cookie: %q", got)
		}
		if got := reply.Header.Values("Set-Cookie"); !reflect.DeepEqual(got, []string{"a=1", "b=2", "c=3", "d=4"}) {
			t.Errorf("Set-Cookie: %q", got)
		}
		if reply.Header.Values("X-Upstream") != nil {
			t.Error("X-Upstream was not removed")
		}
	})
}

func TestAnswerKeepsItsHeaders(t *testing.T) {
	everyWire(t, func(t *testing.T, w wire) {
		reply, _ := do(t, w.upstream, w.h2c, nil, "GET", "/deny-header/x", nil)
		if got := reply.Header.Values("Set-Cookie"); !reflect.DeepEqual(got, []string{"x=1", "y=2"}) {
			t.Errorf("Set-Cookie: %q", got)
		}
		if reply.body != "denied" || reply.Header.Get("Content-Type") != "text/x-denied" {
			t.Errorf("got %q, %s", reply.body, reply.Header.Get("Content-Type"))
		}
	})
}

func TestPathMethodAndAuthority(t *testing.T) {
	everyWire(t, func(t *testing.T, w wire) {
		_, arrived := do(t, w.upstream, w.h2c, nil, "GET", "/reroute/x", nil)
		if arrived.Method != "PUT" || arrived.URI != "/reroute/elsewhere?q=1" || arrived.Host != "other.example" {
			t.Errorf("got %s %s of %s", arrived.Method, arrived.URI, arrived.Host)
		}
	})
}

// TestUpstreamThatAPolicyChooses: Envoy stores it where routes read it, and a client's header cannot set it.
func TestUpstreamThatAPolicyChooses(t *testing.T) {
	needEnvoy(t)
	for upstream, want := range map[string]any{"canary": "canary", "main": "main", "": nil} {
		chain := map[bool]string{true: "chooses-upstream", false: "headers"}[upstream != ""]
		path := "/" + chain + "/for-" + upstream
		reply, _ := do(t, "http1", false, func(r *http.Request) {
			r.Header.Set("X-Upstream", upstream)
			r.Header.Set("Gatewright.upstream", "evil")
			r.Header.Set("X-Gatewright-Upstream", "evil")
		}, "GET", path, nil)
		if line := testbed.accessLine(t, path); reply.StatusCode != 200 || line["upstream"] != want {
			t.Errorf("%q: expected 200 and %v, got %d and %v", upstream, want, reply.StatusCode, line)
		}
	}
	reply, arrived := do(t, "http1", false, func(r *http.Request) { r.Header.Set("X-Upstream", "evil") }, "GET", "/chooses-upstream/evil", nil)
	if reply.StatusCode != 500 || arrived != nil || strings.Contains(reply.body, "canary") {
		t.Errorf("expected 500 without a word of upstreams, and nothing upstream, got %d %s %v", reply.StatusCode, reply.body, arrived)
	}
}

// TestFailure: the client sees the request's id, and nothing about the policy.
func TestFailure(t *testing.T) {
	reply, arrived := do(t, "http1", false, nil, "GET", "/panics/x", nil)
	var problem struct {
		Status    int
		Title     string
		RequestID string
	}
	if err := json.Unmarshal([]byte(reply.body), &problem); err != nil {
		t.Fatal(err)
	}
	if reply.StatusCode != 500 || problem.Status != 500 || problem.Title == "" || len(problem.RequestID) != 36 || arrived != nil {
		t.Errorf("got %d %+v", reply.StatusCode, problem)
	}
	if strings.Contains(reply.body, "secret") || strings.Contains(reply.body, "panic") {
		t.Errorf("internals in %s", reply.body)
	}
}

func TestFailureOfAGRPCCall(t *testing.T) {
	reply, _ := do(t, "http2", true, func(r *http.Request) { r.Header.Set("Content-Type", "application/grpc") },
		"POST", "/panics/x", strings.NewReader("\x00\x00\x00\x00\x00"))
	if reply.StatusCode != 200 || reply.Header.Get("Grpc-Status") != "13" || reply.Header.Get("Grpc-Message") != "A policy of the gateway failed." {
		t.Errorf("got %d %v", reply.StatusCode, reply.Header)
	}
	reply, _ = do(t, "http2", true, func(r *http.Request) { r.Header.Set("Content-Type", "application/grpc") },
		"POST", "/deny-header/x", strings.NewReader("\x00\x00\x00\x00\x00"))
	if reply.StatusCode != 200 || reply.Header.Get("Grpc-Status") != "16" || reply.Header.Get("Grpc-Message") != "denied" {
		t.Errorf("a policy's 401: got %d %v", reply.StatusCode, reply.Header)
	}
}

func TestUnknownChainIsRefused(t *testing.T) {
	needEnvoy(t)
	before := testbed.counters.Stats().UnknownChain
	reply, arrived := do(t, "http1", false, nil, "GET", "/unknown/x", nil)
	if reply.StatusCode != 503 || reply.Header.Get("Retry-After") != "1" || reply.Header.Get("Content-Type") != "application/problem+json" || arrived != nil {
		t.Errorf("got %d %v", reply.StatusCode, reply.Header)
	}
	if after := testbed.counters.Stats().UnknownChain; after != before+1 {
		t.Errorf("counted %d", after-before)
	}
}

// TestRouteThatDoesNotFitItsChainIsRefused: the route sends no body, and the chain needs it.
func TestRouteThatDoesNotFitItsChainIsRefused(t *testing.T) {
	needEnvoy(t)
	before := testbed.counters.Stats().Failed
	reply, arrived := do(t, "http1", false, nil, "POST", "/mismatch/x", strings.NewReader("body"))
	if reply.StatusCode != 500 || arrived != nil || testbed.counters.Stats().Failed != before+1 {
		t.Errorf("got %d; arrived %v; %+v", reply.StatusCode, arrived, testbed.counters.Stats())
	}
}

func TestRouteWithoutPoliciesNeverReachesTheEngine(t *testing.T) {
	needEnvoy(t)
	before := testbed.counters.Stats().Exchanges
	if reply, arrived := do(t, "http1", false, nil, "GET", "/plain/x", nil); reply.StatusCode != 200 || arrived == nil {
		t.Errorf("got %d", reply.StatusCode)
	}
	if reply, _ := do(t, "http1", false, nil, "GET", "/nothing-here", nil); reply.StatusCode != 404 {
		t.Errorf("got %d", reply.StatusCode)
	}
	if after := testbed.counters.Stats().Exchanges; after != before {
		t.Errorf("%d exchanges", after-before)
	}
}

func TestAnalyticsReachTheAccessLog(t *testing.T) {
	needEnvoy(t)
	do(t, "http1", false, nil, "GET", "/analytics/x", nil)
	want := map[string]any{"tenant": "acme", "n": 3.0, "cached": true}
	if got := testbed.accessLine(t, "/analytics/x")["analytics"]; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
	do(t, "http1", false, nil, "GET", "/analytics-answer/x", nil)
	line := testbed.accessLine(t, "/analytics-answer/x")
	if want := map[string]any{"why": []any{"no", "way"}}; !reflect.DeepEqual(line["analytics"], want) || line["details"] != "policy_answer" {
		t.Errorf("got %v", line)
	}
}

// TestAnalyticsOfStreamsReachTheAccessLog beside those of the headers, whose values of the same name they replace.
func TestAnalyticsOfStreamsReachTheAccessLog(t *testing.T) {
	everyWire(t, func(t *testing.T, w wire) {
		path := fmt.Sprintf("/stream-analytics/%s-%t", w.upstream, w.h2c)
		if reply, _ := do(t, w.upstream, w.h2c, nil, "POST", path, strings.NewReader("body")); reply.StatusCode != 200 {
			t.Fatalf("got %d %s", reply.StatusCode, reply.body)
		}
		want := map[string]any{
			"request": "head", "requestEnd": "secret=hunter2", "response": "head", "responseEnd": 7.0, "last": map[string]any{"b": "end"},
		}
		if got := testbed.accessLine(t, path)["analytics"]; !reflect.DeepEqual(got, want) {
			t.Errorf("expected %v, got %v", want, got)
		}
	})
}

// TestEnvoysOwnAnswersMeetTheResponsePolicies, for an unreachable upstream, and for a request that takes too long.
func TestEnvoysOwnAnswersMeetTheResponsePolicies(t *testing.T) {
	everyWire(t, func(t *testing.T, w wire) {
		reply, _ := do(t, w.upstream, w.h2c, nil, "GET", "/nowhere/x", nil)
		if reply.StatusCode != 503 || reply.Header.Get("X-Order") != "outer" {
			t.Errorf("header chain: got %d %v", reply.StatusCode, reply.Header)
		}
		reply, _ = do(t, w.upstream, w.h2c, nil, "POST", "/nowhere-body/x", strings.NewReader("body"))
		if reply.StatusCode != 503 || !strings.HasPrefix(reply.body, "UPSTREAM CONNECT ERROR") {
			t.Errorf("body chain: got %d %s", reply.StatusCode, reply.body)
		}
	})
}

func TestRequestThatTimesOutWhileItsBodyIsAwaited(t *testing.T) {
	for _, h2c := range []bool{false, true} {
		t.Run(fmt.Sprint("HTTP/2: ", h2c), func(t *testing.T) {
			t.Parallel()
			body, writer := io.Pipe()
			go func() { _, _ = writer.Write([]byte("part")) }()
			reply, arrived := do(t, hurried, h2c, nil, "POST", "/waits-for-body/x", body)
			_ = body.Close()
			if reply.StatusCode != 408 || reply.Header.Get("X-Order") != "outer" || reply.body != "request timeout" || arrived != nil {
				t.Errorf("got %d %v %q; arrived %v", reply.StatusCode, reply.Header, reply.body, arrived != nil)
			}
		})
	}
}

// TestRequestThatTimesOutWhileAPolicyRuns: the policy's answer comes after Envoy has sent its own.
func TestRequestThatTimesOutWhileAPolicyRuns(t *testing.T) {
	needEnvoy(t)
	body, writer := io.Pipe()
	defer func() { _ = body.Close() }()
	before := must(testbed.timedOut())
	released := make(chan struct{})
	go func() {
		defer close(released)
		_, _ = writer.Write([]byte("part"))
		<-late.started
		for after, err := before, error(nil); after == before && err == nil; after, err = testbed.timedOut() {
			time.Sleep(20 * time.Millisecond)
		}
		late.release <- struct{}{}
		<-late.ended
	}()
	reply, arrived := do(t, hurried, false, nil, "POST", "/late/x", body)
	<-released
	if reply.StatusCode != 408 || reply.body != "request timeout" || arrived != nil {
		t.Errorf("got %d %q; arrived %v", reply.StatusCode, reply.body, arrived != nil)
	}
}

func TestAClientThatDisconnectsCancelsThePolicy(t *testing.T) {
	needEnvoy(t)
	for _, h2c := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		transport := &http.Transport{Protocols: &http.Protocols{}}
		transport.Protocols.SetHTTP1(!h2c)
		transport.Protocols.SetUnencryptedHTTP2(h2c)
		isQuiet := func() bool { return testbed.counters.Stats().Active == 0 }
		await.Until(t, "the exchanges of other tests have ended", isQuiet)
		before := testbed.counters.Stats()
		over := make(chan struct{})
		go func() {
			defer close(over)
			request := must(http.NewRequestWithContext(ctx, http.MethodGet, "http://"+testbed.listeners["http1"]+"/gone/x", nil))
			if response, err := transport.RoundTrip(request); err == nil {
				_ = response.Body.Close()
				t.Errorf("expected no response, got %d", response.StatusCode)
			}
		}()
		<-gone.started
		cancel()
		await.Receive(t, gone.ended, "the end of the policy, which was cancelled")
		<-over
		transport.CloseIdleConnections()
		await.Until(t, "the exchange has ended", isQuiet)
		if after := testbed.counters.Stats(); after.Cancelled != before.Cancelled+1 || after.Failed != before.Failed {
			t.Errorf("counted %+v after %+v", after, before)
		}
	}
}
