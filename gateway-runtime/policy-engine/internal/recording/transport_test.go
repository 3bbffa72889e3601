package recording_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/policy-engine/internal/recording"
)

// ---------------------------------------------------------------- HTTP

// overHTTP serves the recorder's paths, and returns a client function: method, path, body → status, answer.
func overHTTP(t *testing.T, g *gateway) (address string, ask func(method, path, body string) (int, string)) {
	t.Helper()
	mux := http.NewServeMux()
	g.recorder.Handle(mux)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL, func(method, path, body string) (int, string) {
		t.Helper()
		answer := do(t, method, server.URL+path, body)
		defer func() { _ = answer.Body.Close() }()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(text)
	}
}

func do(t *testing.T, method, address, body string) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func TestARecordingOverHTTP(t *testing.T) {
	g := newGateway(t, enough, policy("passes", "hH", does{}))
	_, ask := overHTTP(t, g)
	if code, text := ask("GET", "/exchanges/id-1", ""); code != 404 || !strings.Contains(text, "no exchange id-1 is kept") {
		t.Errorf("got %d, %s", code, text)
	}
	code, text := ask("POST", "/recordings", `{"filter": {"api": "orders", "status": "2xx"}, "seconds": 60}`)
	if code != 201 || !strings.HasPrefix(text, `{"id":1,"filter":{"api":"orders","status":["2xx"]},"until":"20`) {
		t.Errorf("got %d, %s", code, text)
	}
	_ = g.server.Serve(t.Context(), get("/orders/7"))
	_ = g.server.Serve(t.Context(), get("/orders/8").answers(404))
	if code, text = ask("GET", "/exchanges/id-1", ""); code != 200 || read(t, []byte(text)).Request.Path != "/orders/7" {
		t.Errorf("got %d, %s", code, text)
	}
	if _, text = ask("GET", "/exchanges?kept&filter="+url.QueryEscape(`{"path": "/orders"}`), ""); strings.Count(text, "\n") != 1 {
		t.Errorf("expected one line, got %s", text)
	}
	var stats recording.Stats
	if _, text = ask("GET", "/recordings", ""); json.Unmarshal([]byte(text), &stats) != nil || stats.Recorded != 1 || len(stats.Recordings) != 1 {
		t.Errorf("got %s", text)
	}
	for _, want := range []int{204, 404} {
		if code, text = ask("DELETE", "/recordings/1", ""); code != want {
			t.Errorf("expected %d, got %d, %s", want, code, text)
		}
	}
	if code, _ = ask("DELETE", "/exchanges", ""); code != 204 {
		t.Errorf("got %d", code)
	}
	if _, text = ask("GET", "/exchanges?kept", ""); text != "" {
		t.Errorf("expected nothing, got %s", text)
	}
}

func TestExchangesAreFollowedOverHTTP(t *testing.T) {
	g := newGateway(t, enough, policy("passes", "h", does{}))
	address, _ := overHTTP(t, g)
	answer := do(t, "GET", address+"/exchanges?filter="+url.QueryEscape(`{"policy": "passes"}`), "") // its head shows that it follows
	lines := bufio.NewScanner(answer.Body)
	for range 3 {
		_ = g.server.Serve(t.Context(), get("/orders/7"))
		if !lines.Scan() || read(t, lines.Bytes()).ID != "id-1" {
			t.Fatalf("got %s, %v", lines.Bytes(), lines.Err())
		}
	}
	if answer.Header.Get("Content-Type") != "application/x-ndjson" || len(g.recorder.Stats().Recordings) != 1 {
		t.Errorf("got %v, %+v", answer.Header, g.recorder.Stats())
	}
	_ = answer.Body.Close()
	untilNone(t, g) // the client has gone
}

// untilNone waits until no recording is under way.
func untilNone(t *testing.T, g *gateway) {
	t.Helper()
	await.Until(t, "no recording under way", func() bool { return len(g.recorder.Stats().Recordings) == 0 })
}

func TestFollowingForATime(t *testing.T) {
	g := newGateway(t, enough, policy("passes", "h", does{}))
	if code, text := func() (int, string) { _, ask := overHTTP(t, g); return ask("GET", "/exchanges?seconds=1", "") }(); code != 200 || text != "" {
		t.Errorf("expected an end, got %d, %s", code, text)
	}
}

func TestBadRequests(t *testing.T) {
	g := newGateway(t, enough)
	_, ask := overHTTP(t, g)
	for _, c := range []struct {
		method, path, body string
		code               int
		want               string
	}{
		{"POST", "/recordings", `{"filter": {"x": 1}, "seconds": 1}`, 400, `unknown field \"x\"`},
		{"POST", "/recordings", `{"seconds": 0}`, 400, "seconds: expected 1 to 3600, got 0"},
		{"POST", "/recordings", `{"second": 1}`, 400, `expected {\"filter\": {…}, \"seconds\": N}`},
		{"GET", "/exchanges?filter=x", "", 400, "filter: expected an object"},
		{"GET", "/exchanges?seconds=x", "", 400, `seconds: expected 1 to 3600, got \"x\"`},
		{"DELETE", "/recordings/x", "", 404, "no recording x is under way"},
	} {
		if code, text := ask(c.method, c.path, c.body); code != c.code || !strings.Contains(text, c.want) {
			t.Errorf("%s %s %s: expected %d with %s, got %d, %s", c.method, c.path, c.body, c.code, c.want, code, text)
		}
	}
	g.recorder.Configure(nil, nil)
	if code, text := ask("POST", "/recordings", `{"seconds": 1}`); code != 409 || !strings.Contains(text, "spec.recording.maxBytes") {
		t.Errorf("got %d, %s", code, text)
	}
}

// ---------------------------------------------------------------- Observe

// controller is a node's controller, as far as Observe goes.
type controller struct {
	nodev1.UnimplementedNodeServiceServer
	streams chan nodev1.NodeService_ObserveServer
	end     chan struct{}
}

func (c *controller) Observe(stream nodev1.NodeService_ObserveServer) error {
	c.streams <- stream
	select {
	case <-c.end:
	case <-stream.Context().Done():
	}
	return nil
}

// observed has the gateway's recorder observe for a controller, and returns the controller's side of the stream, which has
// received the node's id.
func observed(t *testing.T, g *gateway) nodev1.NodeService_ObserveServer {
	t.Helper()
	stream, _ := observedFirst(t, g)
	return stream
}

// observedFirst is the same, with the message that names the node.
func observedFirst(t *testing.T, g *gateway) (nodev1.NodeService_ObserveServer, *nodev1.Observed) {
	t.Helper()
	c, server := &controller{streams: make(chan nodev1.NodeService_ObserveServer), end: make(chan struct{})}, grpc.NewServer()
	nodev1.RegisterNodeServiceServer(server, c)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(listener) }()
	connection, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.recorder.Observe(ctx, nodev1.NewNodeServiceClient(connection)) }()
	stream := <-c.streams
	t.Cleanup(func() {
		cancel()
		if err := <-done; err == nil {
			t.Error("expected the reason of the end")
		}
		close(c.end)
		_ = connection.Close()
		server.Stop()
		if left := g.recorder.Stats().Recordings; len(left) > 0 {
			t.Errorf("expected no recording to be left, got %+v", left)
		}
	})
	first := next(t, stream)
	if first.GetNodeId() != "node-1" {
		t.Errorf("expected the node's id, got %v", first)
	}
	return stream, first
}

func next(t *testing.T, stream nodev1.NodeService_ObserveServer) *nodev1.Observed {
	t.Helper()
	message, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	return message
}

// begun reads that an observation has begun.
func begun(t *testing.T, stream nodev1.NodeService_ObserveServer, observation uint64) {
	t.Helper()
	if message := next(t, stream); !proto.Equal(message, &nodev1.Observed{Observation: observation}) {
		t.Errorf("expected the beginning of %d, got %v", observation, message)
	}
}

func want(t *testing.T, stream nodev1.NodeService_ObserveServer, observation *nodev1.Observation) {
	t.Helper()
	if err := stream.Send(observation); err != nil {
		t.Fatal(err)
	}
}

// untilRecording waits until so many recordings are under way.
func (g *gateway) untilRecording(t *testing.T, count int) {
	t.Helper()
	await.Until(t, "the recordings have begun", func() bool { return len(g.recorder.Stats().Recordings) == count })
}

func TestAControllerObserves(t *testing.T) {
	g := newGateway(t, enough, policy("passes", "h", does{}))
	stream := observed(t, g)
	want(t, stream, &nodev1.Observation{Id: 7, Filter: []byte(`{"api": "orders"}`)})
	begun(t, stream, 7)
	want(t, stream, &nodev1.Observation{Id: 8, Filter: []byte(`{"api": "other"}`)})
	begun(t, stream, 8)
	if recordings := g.recorder.Stats().Recordings; len(recordings) != 2 {
		t.Errorf("expected what has begun to be recorded, got %v", recordings)
	}
	for range 2 {
		_ = g.server.Serve(t.Context(), get("/orders/7"))
		if message := next(t, stream); message.GetObservation() != 7 || read(t, message.GetExchanges()[0]).ID != "id-1" {
			t.Errorf("got %v", message)
		}
	}
	want(t, stream, &nodev1.Observation{Id: 7, Stop: true})
	if message := next(t, stream); message.GetObservation() != 7 || !message.GetEnded() || message.GetRefused() != "" {
		t.Errorf("got %v", message)
	}
	want(t, stream, &nodev1.Observation{Id: 9, Kept: true, Filter: []byte(`{"id": "id-1"}`)})
	for n, exchanges := range []int{2, 0} {
		if message := next(t, stream); message.GetObservation() != 9 || len(message.GetExchanges()) != exchanges || message.GetEnded() != (exchanges == 0) {
			t.Errorf("%d: got %v", n, message)
		}
	}
	for id, filter := range map[uint64]string{8: `{}`, 10: `{"apis": 1}`} {
		want(t, stream, &nodev1.Observation{Id: id, Filter: []byte(filter)})
		if message := next(t, stream); message.GetObservation() != id || !message.GetEnded() || message.GetRefused() == "" {
			t.Errorf("got %v", message)
		}
	}
	want(t, stream, &nodev1.Observation{Id: 11, Seconds: 1})
	begun(t, stream, 11)
	if message := next(t, stream); message.GetObservation() != 11 || !message.GetEnded() {
		t.Errorf("got %v", message)
	}
}

// TestAControllerStartsARecordingWithoutFollowing: no exchange is sent until it requests the recorded ones.
func TestAControllerStartsARecordingWithoutFollowing(t *testing.T) {
	g := newGateway(t, enough, policy("passes", "h", does{}))
	stream := observed(t, g)
	want(t, stream, &nodev1.Observation{Id: 1, RecordOnly: true, Seconds: 600, Filter: []byte(`{"api": "orders"}`)})
	g.untilRecording(t, 1)
	_ = g.server.Serve(t.Context(), get("/orders/7"))
	want(t, stream, &nodev1.Observation{Id: 2, Kept: true})
	if message := next(t, stream); message.GetObservation() != 2 || len(message.GetExchanges()) != 1 {
		t.Errorf("got %v", message)
	}
	if message := next(t, stream); message.GetObservation() != 2 || !message.GetEnded() {
		t.Errorf("got %v", message)
	}
	want(t, stream, &nodev1.Observation{Id: 1, Stop: true})
	g.untilRecording(t, 0)
	for id, wrong := range map[uint64]*nodev1.Observation{3: {Seconds: 0}, 4: {Seconds: 1, Filter: []byte("[]")}} {
		wrong.Id, wrong.RecordOnly = id, true
		want(t, stream, wrong)
		if message := next(t, stream); message.GetObservation() != id || !message.GetEnded() || message.GetRefused() == "" {
			t.Errorf("got %v", message)
		}
	}
	want(t, stream, &nodev1.Observation{Id: 5, RecordOnly: true, Seconds: 600}) // is stopped with the stream: see observed
	g.untilRecording(t, 1)
}

// TestManyExchangesGoInFewMessages, none of which exceeds the reader's limit.
func TestManyExchangesGoInFewMessages(t *testing.T) {
	g := newGateway(t, 64<<20, policy("reads", "b", does{}))
	stream := observed(t, g)
	want(t, stream, &nodev1.Observation{Id: 1, RecordOnly: true, Seconds: 600})
	g.untilRecording(t, 1)
	const total = 200
	for range total {
		_ = g.server.Serve(t.Context(), get("/orders/7").posts(strings.Repeat("b", 10_000)))
	}
	want(t, stream, &nodev1.Observation{Id: 2, Kept: true})
	seen, messages := 0, 0
	for message := next(t, stream); !message.GetEnded(); message = next(t, stream) {
		seen, messages = seen+len(message.GetExchanges()), messages+1
		if size := proto.Size(message); size > 256<<10+64<<10 {
			t.Errorf("expected a message of about %d bytes, got %d", 256<<10, size)
		}
	}
	if seen != total || messages < 2 || messages > total/4 {
		t.Errorf("expected %d exchanges in few messages, got %d in %d", total, seen, messages)
	}
}

// TestAControllerThatDoesNotReadHoldsNothingUp: exchanges end, and the dropped ones are counted.
func TestAControllerThatDoesNotReadHoldsNothingUp(t *testing.T) {
	g := newGateway(t, 1<<20, policy("reads", "b", does{}))
	stream := observed(t, g)
	want(t, stream, &nodev1.Observation{Id: 1})
	g.untilRecording(t, 1)
	const total = 500
	for range total {
		_ = g.server.Serve(t.Context(), get("/orders/7").posts(strings.Repeat("b", 10_000)))
	}
	want(t, stream, &nodev1.Observation{Id: 1, Stop: true})
	var seen, missed uint64
	for {
		message := next(t, stream)
		if message.GetEnded() {
			break
		}
		missed += message.GetDropped()
		seen += uint64(len(message.GetExchanges()))
	}
	if seen+missed != total || missed == 0 {
		t.Errorf("expected %d in all, some of them missed, got %d and %d", total, seen, missed)
	}
}
