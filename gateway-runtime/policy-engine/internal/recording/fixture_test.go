package recording_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/exchange"
	"gatewright.dev/policy-engine/internal/operations"
	"gatewright.dev/policy-engine/internal/proxyanswer"
	"gatewright.dev/policy-engine/internal/recording"
	"gatewright.dev/policy-engine/internal/redaction"
	"gatewright.dev/sdk/policy/v1alpha"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// front is a front end of no protocol: a request and an upstream's response, with bodies in pieces.
type front struct {
	opening   exchange.Opening
	request   chain.Head
	response  chain.Head
	pieces    [2][]string
	trailers  [2]v1alpha.Headers
	read      [2]int
	responded bool          // the proxy answers before the request goes on
	gone      bool          // the client is, when the request is sent
	pause     time.Duration // before each piece
	show      func(chain.Side, chain.Head)
	proxy     *proxyanswer.Answer // the response is the proxy's own; nil: it is the upstream's
	showProxy func(proxyanswer.Answer)
}

func get(path string) *front {
	return &front{
		opening: exchange.Opening{RequestID: "id-1", ChainID: "c1", Route: "orders|GET /{id}|c1"},
		request: chain.Head{Method: "GET", Scheme: "https", Authority: "example.org", Path: path, ClientAddress: "192.0.2.1:5",
			RequestID: "id-1", Headers: v1alpha.Headers{{Name: "x-request-id", Value: "id-1"}}, Ended: true},
		response: chain.Head{Status: 200, Headers: v1alpha.Headers{{Name: "content-type", Value: "text/plain"}}, Ended: true},
	}
}

// with gives the request a header.
func (f *front) with(name, value string) *front {
	f.request.Headers = append(f.request.Headers, v1alpha.Header{Name: name, Value: value})
	return f
}

func (f *front) posts(pieces ...string) *front {
	f.request.Method, f.request.Ended, f.pieces[chain.Request] = "POST", len(pieces) == 0, pieces
	return f
}

func (f *front) answers(status int, pieces ...string) *front {
	f.response.Status, f.response.Ended, f.pieces[chain.Response] = status, len(pieces) == 0, pieces
	return f
}

func (f *front) SetTrace(*exchange.Trace)                       {}
func (f *front) ShowResponse(show func(chain.Side, chain.Head)) { f.show = show }

func (f *front) PassRefusal() error { return nil }
func (f *front) SetRoute(string)    {}

func (f *front) ShowProxyAnswer(show func(proxyanswer.Answer)) { f.showProxy = show }

// reportProxyAnswer reports the proxy's own answer when it comes.
func (f *front) reportProxyAnswer() {
	if f.proxy != nil && f.showProxy != nil {
		f.showProxy(*f.proxy)
	}
}

func (f *front) Open(context.Context) (exchange.Opening, error) { return f.opening, nil }
func (f *front) CheckMode(*chain.Chain) error                   { return nil }
func (f *front) Finish(context.Context) error {
	if f.show != nil {
		f.reportProxyAnswer()
		f.show(chain.Came, f.response)
		f.show(chain.Left, f.response)
	}
	return nil
}
func (f *front) Request() chain.Head { return f.request }

func (f *front) Response(context.Context) (chain.Head, error) {
	f.reportProxyAnswer()
	return f.response, nil
}

func (f *front) NextPiece(_ context.Context, direction chain.Direction) ([]byte, error) {
	if f.responded && direction == chain.Request {
		return nil, chain.ErrResponded
	}
	if f.read[direction] == len(f.pieces[direction]) {
		return nil, io.EOF
	}
	time.Sleep(f.pause)
	f.read[direction]++
	return []byte(f.pieces[direction][f.read[direction]-1]), nil
}

func (f *front) HasBody(_ context.Context, direction chain.Direction) (bool, error) {
	return len(f.pieces[direction]) > 0, nil
}

func (f *front) Trailers(direction chain.Direction) (v1alpha.Headers, error) {
	return f.trailers[direction], nil
}

func (f *front) SendHeaders(direction chain.Direction, _ chain.Changes) error {
	if f.responded && direction == chain.Request {
		return chain.ErrResponded
	}
	if f.gone {
		return exchange.ErrProxyCancelled
	}
	return nil
}
func (f *front) SendPiece(context.Context, chain.Direction, []byte) error { return nil }
func (f *front) CopyRest(chain.Direction, func([]byte))                   {}
func (f *front) SendRest(context.Context, chain.Direction) error          { return nil }
func (f *front) SendLast(context.Context, chain.Direction, []byte, chain.End) error {
	return nil
}
func (f *front) Answer(chain.Answer) error {
	f.show = nil
	return nil
}

// does is a policy of functions. A nil function does nothing.
type does struct {
	request  func(*v1alpha.RequestContext) (v1alpha.RequestAction, error)
	response func(*v1alpha.ResponseContext) (v1alpha.ResponseAction, error)
	stream   func(v1alpha.Chunks) v1alpha.Chunks
	leaves   map[string]any // by stream
}

func (d does) OnRequest(_ context.Context, r *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	if d.request == nil {
		return nil, nil
	}
	return d.request(r)
}

func (d does) OnResponse(_ context.Context, r *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	if d.response == nil {
		return nil, nil
	}
	return d.response(r)
}

func (d does) OnRequestStream(_ context.Context, r *v1alpha.RequestContext, chunks v1alpha.Chunks) v1alpha.Chunks {
	r.Analytics.Values = d.leaves
	return d.stream(chunks)
}
func (does) Close() error { return nil }

// modes are those of a policy: h and H the headers, b and B the body, of request and response, s the request as a stream.
func modes(letters string) v1alpha.ProcessingModeConfig {
	var m v1alpha.ProcessingModeConfig
	for _, letter := range letters {
		switch letter {
		case 'h':
			m.RequestHeaderMode = v1alpha.HeaderProcess
		case 'b':
			m.RequestBodyMode = v1alpha.BodyBuffer
		case 's':
			m.RequestBodyMode = v1alpha.BodyStream
		case 'H':
			m.ResponseHeaderMode = v1alpha.HeaderProcess
		case 'B':
			m.ResponseBodyMode = v1alpha.BodyBuffer
		}
	}
	return m
}

func policy(name, letters string, d does) *chain.Instance {
	return policyWith(name, d, chain.Settings{Mode: modes(letters)})
}

func policyWith(name string, d does, settings chain.Settings) *chain.Instance {
	return chain.NewInstance(name, name+":v1.0.0", d, settings)
}

// sets is a policy that sets a header of the request.
func sets(name, header, value string) *chain.Instance {
	return policy(name, "h", does{request: func(*v1alpha.RequestContext) (v1alpha.RequestAction, error) {
		return &v1alpha.UpstreamRequestModifications{Headers: v1alpha.HeaderModifications{Set: []v1alpha.Header{{Name: header, Value: value}}}}, nil
	}})
}

// gateway is an exchange server whose exchanges are recorded.
type gateway struct {
	recorder *recording.Recorder
	watches  *exchange.Watches
	server   *exchange.Server
	tables   *operations.Tables
	values   *redaction.Values // that are secrets
}

func newGateway(t testing.TB, maxBytes uint64, instances ...*chain.Instance) *gateway {
	t.Helper()
	g := &gateway{watches: &exchange.Watches{}, tables: &operations.Tables{}, values: &redaction.Values{}}
	g.recorder = recording.NewRecorder(recording.Options{Node: "node-1", Watches: g.watches, Values: g.values, Log: slog.New(slog.DiscardHandler)})
	g.recorder.Configure(&nodev1.Recording{MaxBytes: maxBytes, BodyBytes: 16 << 10}, secrets)
	table := &chain.Table{}
	if len(instances) > 0 {
		c, err := chain.New(chain.Spec{ID: "c1", API: "orders", APIVersion: "v1.0", Context: "/orders", Operation: "GET /{id}",
			Upstreams: []string{"main", "canary"}, Instances: instances})
		if err != nil {
			t.Fatal(err)
		}
		table.Put(c)
	}
	g.server = exchange.NewServer(table, g.tables, exchange.NewCounters(slog.New(slog.DiscardHandler)), g.watches)
	return g
}

const enough = 16 << 20

var secrets = redaction.New(&nodev1.Redaction{
	Headers: []string{"authorization", "cookie", "set-cookie", "x-api-key"}, QueryParameters: []string{"key", "token"}, Fields: []string{"password", "token"},
})

// filter reads one.
func filter(t testing.TB, text string) recording.Filter {
	t.Helper()
	f, err := recording.ParseFilter([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// record sends the exchange through the gateway while everything is recorded, and returns the recording.
func (g *gateway) record(t testing.TB, f *front) *recording.Exchange {
	t.Helper()
	follower, err := g.recorder.Follow(recording.Filter{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer follower.Close()
	_ = g.server.Serve(t.Context(), f)
	texts, _, err := follower.Next(t.Context())
	if err != nil || len(texts) != 1 {
		t.Fatalf("expected one exchange, got %d, %v", len(texts), err)
	}
	return read(t, texts[0])
}

func read(t testing.TB, text []byte) *recording.Exchange {
	t.Helper()
	e := &recording.Exchange{}
	if err := json.Unmarshal(text, e); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return e
}

// change returns the recorded form of a policy's change, as JSON.
func changes(t testing.TB, e *recording.Exchange, policy, phase string) string {
	t.Helper()
	at := slices.IndexFunc(e.Executions, func(x recording.Execution) bool { return x.Policy == policy+":v1.0.0" && x.Phase == phase })
	if at < 0 {
		t.Fatalf("expected an execution of %s in phase %s, got %+v", policy, phase, e.Executions)
	}
	return asJSON(t, e.Executions[at].Changes)
}

func asJSON(t testing.TB, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func expect(t testing.TB, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: expected\n  %s\ngot\n  %s", what, want, got)
	}
}
