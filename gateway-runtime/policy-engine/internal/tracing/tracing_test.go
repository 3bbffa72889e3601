package tracing

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	resourcev1 "go.opentelemetry.io/proto/otlp/resource/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/exchange"
	"gatewright.dev/policy-engine/internal/redaction"
	"gatewright.dev/sdk/policy/v1alpha"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-"

func headers(lines ...string) (all v1alpha.Headers) {
	for n := 0; n < len(lines); n += 2 {
		all = append(all, v1alpha.Header{Name: lines[n], Value: lines[n+1]})
	}
	return all
}

func TestTraceparents(t *testing.T) {
	for text, want := range map[string]bool{
		parent + "01": true, parent + "00": true, parent + "03": true, "cc" + parent[2:] + "01": true, "cc" + parent[2:] + "01-more": true,
		parent + "01-more": false, "ff" + parent[2:] + "01": false, strings.ToUpper(parent) + "01": false, parent + "0g": false, parent + "0": false,
		"00-00000000000000000000000000000000-b7ad6b7169203331-01": false, "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01": false,
		"": false, "00-zz": false, strings.ReplaceAll(parent, "-", "_") + "01": false,
	} {
		if got, _ := parentOf(headers("traceparent", text)); got.IsValid() != want || got.IsSampled() != (want && strings.ContainsAny(text[53:55], "13")) {
			t.Errorf("%q: expected valid %t, got %v", text, want, got)
		}
	}
	if got, _ := parentOf(headers("traceparent", parent+"01", "traceparent", parent+"01")); got.IsValid() {
		t.Errorf("expected none of two, got %v", got)
	}
	if _, state := parentOf(headers("tracestate", "a=1", "traceparent", parent+"00", "tracestate", "b=2")); state != "a=1,b=2" {
		t.Errorf("expected both states, got %q", state)
	}
}

// FuzzTraceparent: a client's header is valid or it is not.
func FuzzTraceparent(f *testing.F) {
	for _, text := range []string{parent + "01", "cc" + parent[2:] + "01-x", "00-", ""} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if got, _ := parentOf(headers("traceparent", text)); got.IsValid() && !strings.Contains(text, got.TraceID().String()) {
			t.Errorf("%q: got %v", text, got)
		}
	})
}

// receiver is an OTLP client that records the spans that it receives.
type receiver struct {
	mutex sync.Mutex
	fails error
	spans []*tracev1.Span
	calls int
}

func (r *receiver) Start(context.Context) error { return nil }
func (r *receiver) Stop(context.Context) error  { return nil }
func (r *receiver) UploadTraces(_ context.Context, message []*tracev1.ResourceSpans) error {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.calls++
	if r.fails != nil {
		return r.fails
	}
	for _, group := range message {
		for _, scope := range group.GetScopeSpans() {
			r.spans = append(r.spans, scope.GetSpans()...)
		}
	}
	return nil
}

func (r *receiver) set(err error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.fails = err
}

func (r *receiver) names() (names []string) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for _, received := range r.spans {
		names = append(names, received.GetName())
	}
	return names
}

// started is a Tracing that exports to r. The settings are those of its next Apply.
func started(t *testing.T, r *receiver, settings *nodev1.Tracing, log *bytes.Buffer) *Tracing {
	t.Helper()
	made := New(Options{NodeID: "n", Version: "v", Watch: func(exchange.Watch) {},
		Redaction: func() *redaction.List {
			return redaction.New(&nodev1.Redaction{Headers: []string{"authorization"}, QueryParameters: []string{"key"}, Fields: []string{"password"}})
		},
		Log: slog.New(slog.NewTextHandler(log, nil))})
	made.state.Store(&state{settings: settings, token: &tokenFile{path: settings.GetForceTokenFile(), log: made.log},
		exporter: newExporter(r, made.resource(settings), &made.counters, made.log)})
	t.Cleanup(made.Close)
	return made
}

func TestWhichExchangesAreTraced(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("right\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	sampledParent, unsampledParent := headers("traceparent", parent+"01"), headers("traceparent", parent+"00")
	for name, c := range map[string]struct {
		settings *nodev1.Tracing
		token    string
		headers  v1alpha.Headers
		want     bool
	}{
		"none":                    {headers: sampledParent},
		"all":                     {settings: &nodev1.Tracing{Sample: 1}, headers: unsampledParent, want: true},
		"trusted, sampled":        {settings: &nodev1.Tracing{TrustClients: true}, headers: sampledParent, want: true},
		"trusted, not sampled":    {settings: &nodev1.Tracing{TrustClients: true, Sample: 1}, headers: unsampledParent},
		"trusted, without one":    {settings: &nodev1.Tracing{TrustClients: true, Sample: 1}, want: true},
		"the token":               {settings: &nodev1.Tracing{ForceTokenFile: file}, token: "right", want: true},
		"the token, not sampled":  {settings: &nodev1.Tracing{ForceTokenFile: file, TrustClients: true}, token: "right", headers: unsampledParent, want: true},
		"another token":           {settings: &nodev1.Tracing{ForceTokenFile: file}, token: "right "},
		"a token where none is":   {token: "right"},
		"a token without a file":  {settings: &nodev1.Tracing{ForceTokenFile: file + "x"}, token: "right"},
		"an empty token, no file": {settings: &nodev1.Tracing{ForceTokenFile: file + "x"}},
	} {
		var log bytes.Buffer
		traces := started(t, &receiver{}, c.settings, &log)
		got := traces.watch(t.Context(), exchange.Opening{Route: "a|GET /|c", TraceToken: c.token}, chain.Head{Headers: c.headers}, nil)
		if (got != nil) != c.want {
			t.Errorf("%s: expected %t, got %v", name, c.want, got)
		}
	}
}

// TestATokenIsReplaced without notice to the engine.
func TestATokenIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "token")
		var log bytes.Buffer
		token := &tokenFile{path: file, log: slog.New(slog.NewTextHandler(&log, nil))}
		for range 3 {
			if token.matches("a") {
				t.Error("expected no token without a file")
			}
			time.Sleep(2 * rereadAfter)
		}
		if count := strings.Count(log.String(), "no token forces traces"); count != 1 {
			t.Errorf("expected one line, got %d: %s", count, &log)
		}
		for _, text := range []string{"a", "b"} {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * rereadAfter)
			if !token.matches(text) {
				t.Errorf("expected %s to be the token", text)
			}
		}
	})
}

func TestSpansWaitForAReceiverAndThatIsLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		r := &receiver{fails: errors.New("connection refused")}
		exporter := newExporter(r, nil, &counters{}, slog.New(slog.NewTextHandler(&log, nil)))
		exporter.add(&tracev1.Span{Name: "one"})
		time.Sleep(10 * time.Second)
		exporter.add(&tracev1.Span{Name: "two"})
		synctest.Wait()
		if count := strings.Count(log.String(), "traces are not exported"); count != 1 || r.calls < 3 {
			t.Errorf("expected one line and several tries, got %d of %d tries: %s", count, r.calls, &log)
		}
		r.set(nil)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := r.names(); len(got) != 2 {
			t.Errorf("expected both, got %v", got)
		}
		if count := strings.Count(log.String(), "traces are exported again"); count != 1 {
			t.Errorf("expected one line, got %d: %s", count, &log)
		}
		exporter.close()
	})
}

func TestSpansThatAReceiverRefusesAreDroppedAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		counted := &counters{}
		r := &receiver{fails: errors.New("invalid")}
		exporter := newExporter(r, nil, counted, slog.New(slog.DiscardHandler))
		for range 2 * maxQueued {
			exporter.add(&tracev1.Span{})
		}
		if dropped := counted.dropped.Load(); dropped == 0 || exporter.queued() > maxQueued {
			t.Errorf("expected what does not fit to be dropped, got %d, %d wait", dropped, exporter.queued())
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if dropped := counted.dropped.Load(); dropped != 2*maxQueued || exporter.queued() != 0 {
			t.Errorf("expected all of it in the end, got %d, %d wait", dropped, exporter.queued())
		}
		exporter.close()
	})
}

func TestWaitingLinesAreSentAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{}
		exporter := newExporter(r, nil, &counters{}, slog.New(slog.DiscardHandler))
		exporter.add(&tracev1.Span{Name: "own"})
		exporter.addPolicySpans(&tracev1.ResourceSpans{ScopeSpans: []*tracev1.ScopeSpans{{Spans: []*tracev1.Span{{Name: "other"}}}}})
		exporter.close()
		if got := r.names(); len(got) != 2 {
			t.Errorf("expected both, got %v", got)
		}
	})
}

// TestOutcomesOfExecutions in spans of their own, and in the exchange's if Envoy does not know of the trace.
func TestOutcomesOfExecutions(t *testing.T) {
	var log bytes.Buffer
	r := &receiver{}
	traces := started(t, r, &nodev1.Tracing{Sample: 1}, &log)
	head := chain.Head{Method: "GET", Path: "/x?key=1", RequestID: "id"}
	watcher := traces.watch(t.Context(), exchange.Opening{RequestID: "id", Route: "a|GET /|c"}, head, nil)
	for n, execution := range []chain.Execution{
		{}, {Answered: true}, {Cancelled: true}, {Failure: v1alpha.Failf(v1alpha.ClassTimeout, "password=hunter2"), Continued: true},
	} {
		turn := chain.Turn{Index: n, Phase: chain.PhaseRequest, Policy: "p:v1.0.0"}
		watcher.ExecutionBegan(t.Context(), turn, chain.View{})
		watcher.ExecutionEnded(turn, execution, chain.View{})
	}
	slog.New(traces.Handler(slog.NewTextHandler(&log, nil))).Info("a line", "requestId", "id")
	watcher.ExchangeEnded(exchange.Exchange{RequestID: "id", Result: chain.Cancelled})
	slog.New(traces.Handler(slog.NewTextHandler(&log, nil))).Info("a later line", "requestId", "id")
	traces.Close()
	outcomes := []string{}
	for _, received := range r.spans {
		outcomes = append(outcomes, valueOf(received, outcomeAttribute))
	}
	if got := strings.Join(outcomes, " "); got != "ok answered cancelled timeout cancelled" {
		t.Errorf("got %s", got)
	}
	if failed := r.spans[3]; failed.GetStatus().GetMessage() != "password="+redaction.Mark || failed.GetStatus().GetCode() != tracev1.Status_STATUS_CODE_ERROR {
		t.Errorf("expected the reason without the secret, got %v", failed.GetStatus())
	}
	if last := r.spans[4]; last.GetName() != "a GET /" || valueOf(last, "url.query") != "key="+redaction.Mark || !bytes.Equal(r.spans[0].GetParentSpanId(), last.GetSpanId()) {
		t.Errorf("expected the exchange's span, got %v", last)
	}
	if strings.Count(log.String(), "traceId=") != 1 || !strings.Contains(log.String(), "requestId=id traceId=") {
		t.Errorf("expected the trace in the line of the exchange under way alone, got %s", &log)
	}
}

func valueOf(received *tracev1.Span, name string) string {
	for _, attribute := range received.GetAttributes() {
		if attribute.GetKey() == name {
			return attribute.GetValue().GetStringValue()
		}
	}
	return ""
}

func text(value string) *commonv1.AnyValue {
	return &commonv1.AnyValue{Value: &commonv1.AnyValue_StringValue{StringValue: value}}
}

// TestSecretsOfPolicies are redacted by the names of attributes, whose last part may be a header's, in all parts of a span.
func TestSecretsOfPolicies(t *testing.T) {
	list := redaction.New(&nodev1.Redaction{Headers: []string{"authorization", "x-key"}, QueryParameters: []string{"key"}, Fields: []string{"password"}})
	secret := func() []*commonv1.KeyValue {
		nested := &commonv1.AnyValue{Value: &commonv1.AnyValue_KvlistValue{KvlistValue: &commonv1.KeyValueList{
			Values: []*commonv1.KeyValue{{Key: "password", Value: text("hunter2")}}}}}
		list := &commonv1.AnyValue{Value: &commonv1.AnyValue_ArrayValue{ArrayValue: &commonv1.ArrayValue{Values: []*commonv1.AnyValue{text("hunter2")}}}}
		return []*commonv1.KeyValue{
			{Key: "http.request.header.authorization", Value: list}, {Key: "http.request.header.x_key", Value: text("hunter2")},
			{Key: "user", Value: nested}, {Key: "url.query", Value: text("key=hunter2")}, {Key: "url.full", Value: text("http://h/?key=hunter2")},
			{Key: "note", Value: text("password: hunter2")}, {Key: "raw", Value: &commonv1.AnyValue{Value: &commonv1.AnyValue_BytesValue{BytesValue: []byte("hunter2")}}},
			{Key: "kept", Value: text("page=2")},
		}
	}
	received := &tracev1.Span{Name: "GET /?key=hunter2", Attributes: secret(),
		Events: []*tracev1.Span_Event{{Name: "login password=hunter2", Attributes: secret()}}, Links: []*tracev1.Span_Link{{Attributes: secret()}},
		Status: &tracev1.Status{Message: "password=hunter2"}}
	all := &tracev1.ResourceSpans{Resource: &resourcev1.Resource{Attributes: secret()}, ScopeSpans: []*tracev1.ScopeSpans{{
		Scope: &commonv1.InstrumentationScope{Attributes: secret()}, Spans: []*tracev1.Span{received}}}}
	redactSpans(list, all)
	if shown := all.String(); strings.Contains(shown, "hunter2") || strings.Count(shown, "page=2") != 5 {
		t.Errorf("expected all secrets to be gone, and nothing else, got %s", shown)
	}
}

// TestInvalidUTF8OfAClientDoesNotFailTheMessage, and with it the spans of other exchanges.
func TestInvalidUTF8OfAClientDoesNotFailTheMessage(t *testing.T) {
	r := &receiver{}
	traces := started(t, r, &nodev1.Tracing{Sample: 1}, &bytes.Buffer{})
	head := chain.Head{Method: "GET", Path: "/\xff?a=\xff", Authority: "\xff", Scheme: "http", Headers: headers(
		"traceparent", parent+"01", "tracestate", "a=\xff", "user-agent", strings.Repeat("ä", 60<<10))}
	watcher := traces.watch(t.Context(), exchange.Opening{RequestID: "\xff"}, head, nil)
	turn := chain.Turn{Phase: chain.PhaseRequest, Policy: "p:v1.0.0"}
	watcher.ExecutionBegan(t.Context(), turn, chain.View{})
	watcher.ExecutionEnded(turn, chain.Execution{Failure: v1alpha.Failf(v1alpha.ClassException, "\xff")}, chain.View{})
	watcher.ExchangeEnded(exchange.Exchange{RequestID: "\xff"})
	traces.Close()
	if len(r.spans) != 2 {
		t.Fatalf("expected two spans, got %v", r.spans)
	}
	for _, received := range r.spans {
		if encoded, err := proto.Marshal(received); err != nil || len(encoded) > 2*maxText {
			t.Errorf("expected a span of at most %d bytes that can be encoded, got %d bytes, %v", 2*maxText, len(encoded), err)
		}
	}
	if agent := valueOf(r.spans[1], "user_agent.original"); agent != strings.Repeat("ä", maxText/2) {
		t.Errorf("expected the beginning, got %d bytes", len(agent))
	}
}

// TestInvalidTraceStates: https://www.w3.org/TR/trace-context/#tracestate-header
func TestInvalidTraceStates(t *testing.T) {
	for _, state := range []string{"a=\xff", "a", strings.Repeat("a=1,", 33), "a=" + strings.Repeat("x", 257)} {
		if got, kept := parentOf(headers("traceparent", parent+"01", "tracestate", state)); !got.IsValid() || kept != "" {
			t.Errorf("%.40q: expected the parent without a state, got %v, %.40q", state, got, kept)
		}
	}
}

// TestLargeSpansAreBounded: the bytes of waiting spans, and of one message.
func TestLargeSpansAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		counted, r := &counters{}, &receiver{fails: errors.New("away")}
		exporter := newExporter(r, nil, counted, slog.New(slog.DiscardHandler))
		large := func() *tracev1.ResourceSpans {
			return &tracev1.ResourceSpans{ScopeSpans: []*tracev1.ScopeSpans{{Spans: []*tracev1.Span{{Name: strings.Repeat("x", 256<<10)}}}}}
		}
		const many = 200
		for range many {
			exporter.addPolicySpans(large())
		}
		waiting, dropped := exporter.queued(), int(counted.dropped.Load())
		if sent := many - waiting - dropped; waiting > maxQueuedBytes/(256<<10) || sent < 0 || sent > maxBatchBytes/(256<<10) {
			t.Errorf("expected at most %d bytes to wait, got %d spans, %d dropped", maxQueuedBytes, waiting, dropped)
		}
		message, count := exporter.nextBatch()
		if size := proto.Size(&tracev1.TracesData{ResourceSpans: message}); count == 0 || size > maxBatchBytes+1<<10 {
			t.Errorf("expected a message of at most %d bytes, got %d of %d spans", maxBatchBytes, size, count)
		}
		exporter.close()
		if exporter.queued() != 0 || exporter.bytes != 0 {
			t.Errorf("expected nothing to be left, got %d spans, %d bytes", exporter.queued(), exporter.bytes)
		}
	})
}

// TestAnAttributeWithoutAValue is an empty one in OTLP, whatever its name.
func TestAnAttributeWithoutAValue(t *testing.T) {
	r := &receiver{}
	traces := started(t, r, &nodev1.Tracing{}, &bytes.Buffer{})
	serialized, err := proto.Marshal(&tracev1.ResourceSpans{ScopeSpans: []*tracev1.ScopeSpans{{Spans: []*tracev1.Span{{Name: "own",
		Attributes: []*commonv1.KeyValue{{Key: "password"}, {Key: "list", Value: &commonv1.AnyValue{Value: &commonv1.AnyValue_ArrayValue{
			ArrayValue: &commonv1.ArrayValue{Values: []*commonv1.AnyValue{{}}}}}}}}}}}})
	if err != nil {
		t.Fatal(err)
	}
	traces.ExportPolicies(serialized)
	traces.Close()
	if got := r.names(); len(got) != 1 {
		t.Errorf("expected the span, got %v", got)
	}
}

// FuzzSpansOfPolicies: a process may send anything.
func FuzzSpansOfPolicies(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x12\x0e\x12\x0c\x4a\x0a\x0a\x08password"))
	traces := New(Options{Redaction: func() *redaction.List { return redaction.New(&nodev1.Redaction{Fields: []string{"password"}}) },
		Watch: func(exchange.Watch) {}, Log: slog.New(slog.DiscardHandler)})
	traces.state.Store(&state{settings: &nodev1.Tracing{}, exporter: newExporter(&receiver{}, nil, &counters{}, traces.log)})
	f.Cleanup(traces.Close)
	f.Fuzz(func(_ *testing.T, serialized []byte) { traces.ExportPolicies(serialized) })
}
