package extproc

import (
	"errors"
	"testing"

	servicev3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/protobuf/proto"

	"gatewright.dev/policy-engine/gen/envoynames"
	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/exchange"
	"gatewright.dev/policy-engine/internal/extproc/demux"
	"gatewright.dev/sdk/policy/v1alpha"
)

// answers are the messages that a front end has sent, decoded by generated code.
type answers struct {
	Stream
	t    *testing.T
	sent []*servicev3.ProcessingResponse
	gone error // what Send returns
}

func (a *answers) Send(message, rest []byte) error {
	decoded := &servicev3.ProcessingResponse{}
	if err := proto.Unmarshal(append(append([]byte{}, message...), rest...), decoded); err != nil {
		a.t.Error(err)
	}
	a.sent = append(a.sent, decoded)
	return a.gone
}

func aTrace() *exchange.Trace {
	return &exchange.Trace{ID: [16]byte{1}, Parent: [8]byte{2}, Exchange: [8]byte{3}, Upstream: [8]byte{4}, State: "vendor=1"}
}

// TestATracedRequestGoesUpstreamWithItsTrace, even if a policy has changed these headers, and Envoy gets the trace
// once.
func TestATracedRequestGoesUpstreamWithItsTrace(t *testing.T) {
	stream := &answers{t: t}
	f := &front{stream: stream}
	f.SetTrace(aTrace())
	changes := chain.Changes{Analytics: map[string]any{"a": "b"}, Headers: v1alpha.HeaderModifications{
		Set:    []v1alpha.Header{{Name: "traceparent", Value: "the policy's"}, {Name: "x-a", Value: "1"}},
		Append: []v1alpha.Header{{Name: "tracestate", Value: "the policy's"}}, Remove: []string{"traceparent"},
	}}
	if err := f.SendHeaders(chain.Request, changes); err != nil {
		t.Fatal(err)
	}
	if err := f.SendHeaders(chain.Response, chain.Changes{}); err != nil {
		t.Fatal(err)
	}
	mutation := stream.sent[0].GetRequestHeaders().GetResponse().GetHeaderMutation()
	got := map[string]string{}
	for _, option := range mutation.GetSetHeaders() {
		got[option.GetHeader().GetKey()] += string(option.GetHeader().GetRawValue())
	}
	want := "00-01000000000000000000000000000000-0400000000000000-01"
	if got["traceparent"] != want || got["x-a"] != "1" || len(got) != 2 || len(mutation.GetRemoveHeaders()) != 0 {
		t.Errorf("expected traceparent %s and x-a alone, got %v, removed %v", want, got, mutation.GetRemoveHeaders())
	}
	metadata := stream.sent[0].GetDynamicMetadata().GetFields()
	fields := metadata[envoynames.TraceNamespace].GetStructValue().GetFields()
	if fields[envoynames.TraceSpanIDKey].GetStringValue() != "0300000000000000" || fields[envoynames.TraceParentIDKey].GetStringValue() != "0200000000000000" ||
		fields[envoynames.TraceStateKey].GetStringValue() != "vendor=1" || metadata["gatewright"] == nil {
		t.Errorf("expected the ids beside the analytics, got %v", metadata)
	}
	if again := stream.sent[1].GetDynamicMetadata(); again != nil || stream.sent[1].GetResponseHeaders().GetResponse().GetHeaderMutation() != nil {
		t.Errorf("expected nothing more, got %v", stream.sent[1])
	}
}

// TestATraceThatBeginsHereHasNoState of another trace.
func TestATraceThatBeginsHereHasNoState(t *testing.T) {
	stream := &answers{t: t}
	f := &front{stream: stream}
	f.SetTrace(&exchange.Trace{ID: [16]byte{1}, Exchange: [8]byte{3}, Upstream: [8]byte{4}})
	if err := f.SendHeaders(chain.Request, chain.Changes{}); err != nil {
		t.Fatal(err)
	}
	removed := stream.sent[0].GetRequestHeaders().GetResponse().GetHeaderMutation().GetRemoveHeaders()
	if len(removed) != 1 || removed[0] != "tracestate" {
		t.Errorf("expected tracestate to be removed, got %v", removed)
	}
}

func TestEnvoyGetsTheTraceOfAnAnswer(t *testing.T) {
	stream := &answers{t: t}
	f := &front{stream: stream}
	f.SetTrace(aTrace())
	if err := f.Answer(chain.Answer{Status: 403, Body: []byte("no")}); err != nil {
		t.Fatal(err)
	}
	if sent := stream.sent[0]; sent.GetDynamicMetadata().GetFields()[envoynames.TraceNamespace] == nil || string(sent.GetImmediateResponse().GetBody()) != "no" {
		t.Errorf("expected the answer with the trace, got %v", sent)
	}
}

// TestTheEngineReportsTracesThatEnvoyDidNotGet: for a request that Envoy has answered meanwhile, or whose stream is
// gone.
func TestTheEngineReportsTracesThatEnvoyDidNotGet(t *testing.T) {
	gone, answered := errors.New("gone"), &front{stream: &answers{t: t}}
	answered.demux.Received(&demux.Waiter{}, &demux.Message{Kind: demux.ResponseHeaders})
	for name, f := range map[string]*front{"answered": answered, "gone": {stream: &answers{t: t, gone: gone}}} {
		trace := aTrace()
		f.SetTrace(trace)
		if err := f.SendHeaders(chain.Request, chain.Changes{}); !errors.Is(err, chain.ErrResponded) && !errors.Is(err, gone) {
			t.Errorf("%s: expected that it is not sent, got %v", name, err)
		}
		if trace.Sent.Load() {
			t.Errorf("%s: expected Envoy not to have got the trace", name)
		}
	}
	// A trace that cannot be encoded does not hold the message back.
	stream := &answers{t: t}
	f := &front{stream: stream}
	trace := aTrace()
	trace.State = "\xff"
	f.SetTrace(trace)
	if err := f.Answer(chain.Answer{Status: 403}); err != nil || len(stream.sent) != 1 || trace.Sent.Load() {
		t.Errorf("expected the answer alone, got %v, %v", stream.sent, err)
	}
}
