package extproc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	servicev3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/protobuf/proto"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/exchange"
	"gatewright.dev/policy-engine/internal/extproc"
	"gatewright.dev/policy-engine/internal/proxyanswer"
	"gatewright.dev/sdk/policy/v1alpha"
)

// watcher watches an exchange, with its response, and notes responses and the end.
type watcher struct {
	mutex sync.Mutex
	notes []string
	path  string
	ended func(*watcher)
}

func (w *watcher) note(format string, args ...any) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.notes = append(w.notes, fmt.Sprintf(format, args...))
}

func (*watcher) WantsResponse() {}
func (*watcher) ExecutionBegan(ctx context.Context, _ chain.Turn, _ chain.View) context.Context {
	return ctx
}
func (*watcher) ExecutionEnded(chain.Turn, chain.Execution, chain.View)        {}
func (*watcher) StreamChunk(chain.Turn, chain.Side, []byte)                    {}
func (*watcher) MessagePiece(chain.Direction, chain.Side, []byte)              {}
func (*watcher) MessageRest(chain.Direction)                                   {}
func (*watcher) ShadowBegan(ctx context.Context, _ chain.Turn) context.Context { return ctx }
func (*watcher) ShadowEnded(chain.Turn, chain.Shadow)                          {}
func (*watcher) MessageTrailers(chain.Direction, chain.Side, v1alpha.Headers)  {}
func (*watcher) MessageAnalytics(chain.Direction, map[string]any)              {}
func (*watcher) ExecutionSkipped(chain.Turn, string)                           {}
func (w *watcher) MessageHead(direction chain.Direction, side chain.Side, v chain.View) {
	if direction == chain.Response {
		w.note("%s %d %s", map[chain.Side]string{chain.Came: "came", chain.Left: "left"}[side], v.Status, v.ResponseHeaders.Get("x-upstream"))
	}
}

func (w *watcher) ExchangeEnded(ended exchange.Exchange) {
	w.note("%s", map[chain.Result]string{chain.Completed: "completed", chain.Cancelled: "cancelled", chain.Failed: "failed"}[ended.Result])
	if w.ended != nil {
		w.ended(w)
	}
}

// watch watches all exchanges of the test that begin from now on. The returned function waits for the end of the
// exchange of a path, and returns its notes.
func (w *world) watch(t *testing.T) func(path string) []string {
	t.Helper()
	var mutex sync.Mutex
	changed, ended := make(chan struct{}), map[string][]string{}
	w.watches.Set("test", func(_ context.Context, _ exchange.Opening, head chain.Head, _ *chain.Chain) exchange.Watcher {
		return &watcher{path: head.Path, ended: func(shown *watcher) {
			mutex.Lock()
			defer mutex.Unlock()
			ended[shown.path] = shown.notes
			close(changed)
			changed = make(chan struct{})
		}}
	})
	t.Cleanup(func() { w.watches.Set("test", nil) })
	return func(path string) []string {
		for {
			mutex.Lock()
			notes, again := ended[path], changed
			mutex.Unlock()
			if notes != nil {
				return notes
			}
			<-again
		}
	}
}

// TestAResponseThatNoPolicySeesIsShown in any form, and goes on unchanged: all responses and all shapes of a request on
// one pair of protocols, and each response and each shape by itself on the others.
func TestAResponseThatNoPolicySeesIsShown(t *testing.T) {
	needEnvoy(t)
	for n, w := range wires {
		t.Run(w.name, func(t *testing.T) {
			ended := testbed.watch(t)
			for _, chain := range []string{"request-order", "adds-body", "adds-body-duplex", "request-buffers", "request-streams"} {
				for _, s := range shapes {
					for answer, status := range answers {
						alone := s.name == "POST" || answer == "" || n == len(wires)-1 && answer != "large"
						if s.size <= 1<<20 && alone { // what a policy takes
							expectShown(t, w, chain, s, answer, status, ended)
						}
					}
				}
			}
		})
	}
}

// answers are the responses of the upstream, with their status.
var answers = map[string]int{"": 200, "204": 204, "304": 304, "empty": 200, "trailers": 200, "large": 200, "stream": 200}

func expectShown(t *testing.T, w wire, chain string, s shape, answer string, status int, ended func(path string) []string) {
	t.Helper()
	path := fmt.Sprintf("/%s/%s?%s", chain, strings.ReplaceAll(s.name, " ", "-"), answer)
	reply, arrived := do(t, w.upstream, w.h2c, func(r *http.Request) {
		s.change(r)
		r.Header.Set("X-Answer", answer)
	}, s.method, path, s.body())
	want := []string{fmt.Sprint("came ", status, " yes"), fmt.Sprint("left ", status, " yes"), "completed"}
	if got := ended(path); arrived == nil || reply.StatusCode != status || !slices.Equal(got, want) {
		t.Errorf("%s: expected %q, got %d and %q", path, want, reply.StatusCode, got)
	}
	if answer == "large" && reply.Request.Method != http.MethodHead && len(reply.body) != 3<<20 {
		t.Errorf("%s: got %d bytes", path, len(reply.body))
	}
}

// TestAnAnswerOfEnvoysOwnIsShown when no upstream could be reached.
func TestAnAnswerOfEnvoysOwnIsShown(t *testing.T) {
	needEnvoy(t)
	ended := testbed.watch(t)
	for _, path := range []string{"/nowhere-request/x", "/nowhere-request-body/x"} {
		reply, _ := do(t, "http1", false, nil, "POST", path, strings.NewReader("body"))
		if got, want := ended(path), []string{"came 503 ", "left 503 ", "completed"}; reply.StatusCode != 503 || !slices.Equal(got, want) {
			t.Errorf("%s: expected %q, got %d and %q", path, want, reply.StatusCode, got)
		}
	}
}

// TestAnAnswerOfEnvoysOwnIsNotShownBeforeTheRequestHasGone, since Envoy is asked for it at that moment.
func TestAnAnswerOfEnvoysOwnIsNotShownBeforeTheRequestHasGone(t *testing.T) {
	needEnvoy(t)
	ended := testbed.watch(t)
	body, writer := io.Pipe()
	go func() { _, _ = writer.Write([]byte("part")) }()
	reply, arrived := do(t, hurried, false, nil, "POST", "/request-buffers/late", body)
	_ = body.Close()
	if got := ended("/request-buffers/late"); reply.StatusCode != 408 || arrived != nil || !slices.Equal(got, []string{"cancelled"}) {
		t.Errorf("got %d, %q", reply.StatusCode, got)
	}
}

// TestAPolicysAnswerDoesNotWaitForAResponse that was to be shown.
func TestAPolicysAnswerDoesNotWaitForAResponse(t *testing.T) {
	needEnvoy(t)
	ended := testbed.watch(t)
	reply, _ := do(t, "http2", true, nil, "GET", "/denies/x", nil)
	if got := ended("/denies/x"); reply.StatusCode != 401 || !slices.Equal(got, []string{"left 401 ", "completed"}) {
		t.Errorf("got %d and %q", reply.StatusCode, got)
	}
}

// ---------------------------------------------------------------- conversations

// watchedServer is a server of the one chain, with the watcher w; nil: none.
func watchedServer(name string, w *watcher) *extproc.Server {
	if w == nil {
		return watchedServerOf(name, nil)
	}
	return watchedServerOf(name, w)
}

func watchedServerOf(name string, w exchange.Watcher) *extproc.Server {
	table, watches := &chain.Table{}, &exchange.Watches{}
	table.Put(must(chain.New(chain.Spec{ID: name, Context: "/", Instances: scenarios[name]})))
	if w != nil {
		watches.Set("test", func(context.Context, exchange.Opening, chain.Head, *chain.Chain) exchange.Watcher { return w })
	}
	counters := exchange.NewCounters(slog.New(slog.DiscardHandler))
	return extproc.NewServer(exchange.NewServer(table, nil, counters, watches), nil, slog.New(slog.DiscardHandler))
}

func responseOf(status string, ended bool) *servicev3.ProcessingRequest {
	return &servicev3.ProcessingRequest{Request: &servicev3.ProcessingRequest_ResponseHeaders{ResponseHeaders: &servicev3.HttpHeaders{
		EndOfStream: ended, Headers: &corev3.HeaderMap{Headers: []*corev3.HeaderValue{{Key: ":status", RawValue: []byte(status)}}},
	}}}
}

func pieceOf(text string, ended bool) *servicev3.ProcessingRequest {
	return &servicev3.ProcessingRequest{Request: &servicev3.ProcessingRequest_RequestBody{
		RequestBody: &servicev3.HttpBody{Body: []byte(text), EndOfStream: ended},
	}}
}

// TestTheResponseIsRequestedIfTheExchangeIsWatched, and the rest of the mode is unchanged.
func TestTheResponseIsRequestedIfTheExchangeIsWatched(t *testing.T) {
	headers := &filterv3.ProcessingMode{
		RequestHeaderMode: filterv3.ProcessingMode_SEND, ResponseHeaderMode: filterv3.ProcessingMode_SEND,
		RequestTrailerMode: filterv3.ProcessingMode_SKIP, ResponseTrailerMode: filterv3.ProcessingMode_SKIP,
	}
	duplex := &filterv3.ProcessingMode{
		RequestHeaderMode: filterv3.ProcessingMode_SEND, ResponseHeaderMode: filterv3.ProcessingMode_SEND,
		RequestBodyMode: filterv3.ProcessingMode_FULL_DUPLEX_STREAMED, RequestTrailerMode: filterv3.ProcessingMode_SEND,
		ResponseTrailerMode: filterv3.ProcessingMode_SKIP,
	}
	for name, want := range map[string]*filterv3.ProcessingMode{
		"request-order": headers, "adds-body": headers, "request-buffers": duplex, "request-streams": duplex, "order": nil, "denies": nil,
	} {
		pieces := []*servicev3.ProcessingRequest{}
		if want == duplex {
			pieces = append(pieces, pieceOf("some", false), pieceOf("more", true))
		}
		w, stream := &watcher{}, &script{ctx: t.Context()}
		stream.sends = slices.Concat([]*servicev3.ProcessingRequest{opening(name, false)}, pieces, []*servicev3.ProcessingRequest{responseOf("404", true)})
		if err := watchedServer(name, w).Process(stream); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := stream.got[0].GetModeOverride(); !proto.Equal(got, want) {
			t.Errorf("%s: expected %v, got %v", name, want, got)
		}
		last := stream.got[len(stream.got)-1].GetResponseHeaders()
		if want != nil && (last == nil || last.GetResponse().GetHeaderMutation() != nil) {
			t.Errorf("%s: expected the response unchanged, got %v", name, stream.got)
		}
		if want != nil && !slices.Equal(w.notes, []string{"came 404 ", "left 404 ", "completed"}) {
			t.Errorf("%s: got %q", name, w.notes)
		}
		if want != nil {
			expectUnasked(t, name, pieces)
		}
	}
}

// expectUnasked runs the same exchange unwatched, which ends without the response.
func expectUnasked(t *testing.T, name string, pieces []*servicev3.ProcessingRequest) {
	t.Helper()
	stream := &script{ctx: t.Context(), sends: slices.Concat([]*servicev3.ProcessingRequest{opening(name, false)}, pieces)}
	if err := watchedServer(name, nil).Process(stream); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	for _, message := range stream.got {
		if message.GetModeOverride() != nil || message.GetResponseHeaders() != nil {
			t.Errorf("%s: expected nothing of a response, got %v", name, message)
		}
	}
}

// TestAResponseBeforeTheRequestHasGoneIsNotHeld, and the rest of the request follows it.
func TestAResponseBeforeTheRequestHasGoneIsNotHeld(t *testing.T) {
	w, stream := &watcher{}, &script{ctx: t.Context()}
	stream.sends = []*servicev3.ProcessingRequest{
		opening("request-streams", false), pieceOf("one", false), pieceOf("two", false), responseOf("200", false), pieceOf("three", true),
	}
	if err := watchedServer("request-streams", w).Process(stream); err != nil {
		t.Fatal(err)
	}
	sent, responses := "", 0
	for _, message := range stream.got {
		sent += string(message.GetRequestBody().GetResponse().GetBodyMutation().GetStreamedResponse().GetBody())
		if message.GetResponseHeaders() != nil {
			responses++
		}
	}
	if sent != "ONETWOTHREE" || responses != 1 || !slices.Equal(w.notes, []string{"came 200 ", "left 200 ", "completed"}) {
		t.Errorf("got %q, %d responses, %q", sent, responses, w.notes)
	}
}

// TestAnExchangeWhoseResponseDoesNotComeEndsWithAnError, and so does one with more messages than allowed: neither is a
// proper end.
func TestAnExchangeWhoseResponseDoesNotComeEndsWithAnError(t *testing.T) {
	done, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("oh"))
	request, response := opening("request-streams", false), responseOf("200", false)
	for name, c := range map[string]struct {
		ctx   context.Context
		sends []*servicev3.ProcessingRequest
		want  string
	}{
		"the stream ends":      {t.Context(), []*servicev3.ProcessingRequest{request, pieceOf("all", true)}, "cancelled"},
		"the client cancels":   {done, []*servicev3.ProcessingRequest{request, pieceOf("all", true)}, "cancelled"},
		"two responses":        {t.Context(), []*servicev3.ProcessingRequest{request, pieceOf("some", false), response, response}, "failed"},
		"a piece of its body":  {t.Context(), []*servicev3.ProcessingRequest{request, pieceOf("some", false), response, responsePiece("x")}, "failed"},
		"the request goes on":  {t.Context(), []*servicev3.ProcessingRequest{request, pieceOf("all", true), pieceOf("more", true)}, "failed"},
		"nothing of a request": {t.Context(), []*servicev3.ProcessingRequest{request, pieceOf("some", false), response}, "cancelled"},
	} {
		w := &watcher{}
		err := watchedServer("request-streams", w).Process(&script{ctx: c.ctx, sends: c.sends})
		if err == nil || w.notes[len(w.notes)-1] != c.want {
			t.Errorf("%s: expected %s, got %v, %q", name, c.want, err, w.notes)
		}
	}
}

func responsePiece(text string) *servicev3.ProcessingRequest {
	return &servicev3.ProcessingRequest{Request: &servicev3.ProcessingRequest_ResponseBody{ResponseBody: &servicev3.HttpBody{Body: []byte(text)}}}
}

// TestTheProxyAnswerHeaderIsRemoved for any chain if it has Envoy's token; any other header of that name is the
// upstream's, and stays.
func TestTheProxyAnswerHeaderIsRemoved(t *testing.T) {
	const name = "x-gatewright-proxy-answer"
	for _, chain := range []string{"request-order", "order"} {
		for _, forged := range []bool{false, true} {
			w := &answerWatcher{}
			script := &answering{script: script{ctx: t.Context(), sends: []*servicev3.ProcessingRequest{opening(chain, true)}}}
			script.next = func(token string) *servicev3.ProcessingRequest {
				if token == "" {
					t.Errorf("%s: expected Envoy to get a token", chain)
				}
				if forged {
					token = "other"
				}
				response := responseOf("503", true)
				headers := response.GetResponseHeaders().GetHeaders()
				headers.Headers = append(headers.GetHeaders(), &corev3.HeaderValue{Key: name, RawValue: []byte(token + " UF details 192.0.2.1:80 refused: so")})
				return response
			}
			if err := watchedServerOf(chain, w).Process(script); err != nil {
				t.Fatalf("%s: %v", chain, err)
			}
			want := proxyanswer.Answer{Status: 503, Flags: "UF", Details: "details", Upstream: "192.0.2.1:80", Transport: "refused: so"}
			if forged {
				want = proxyanswer.Answer{}
			}
			removed := script.got[len(script.got)-1].GetResponseHeaders().GetResponse().GetHeaderMutation().GetRemoveHeaders()
			if w.answer != want || slices.Contains(removed, name) == forged {
				t.Errorf("%s, forged %t: expected %+v, got %+v, and %q removed", chain, forged, want, w.answer, removed)
			}
		}
	}
}

// answerWatcher watches an exchange, and notes an answer of Envoy's own.
type answerWatcher struct {
	watcher
	answer proxyanswer.Answer
}

func (w *answerWatcher) ProxyAnswered(answer proxyanswer.Answer) { w.answer = answer }

// answering is a script whose last message has the token that Envoy received.
type answering struct {
	script
	next func(token string) *servicev3.ProcessingRequest
}

func (a *answering) Receive(ctx context.Context) ([]byte, error) {
	if len(a.got) > 0 && a.next != nil {
		token := a.got[0].GetDynamicMetadata().GetFields()["gatewright.watched"].GetStructValue().GetFields()["token"].GetStringValue()
		a.sends = append(a.sends, a.next(token))
		a.next = nil
	}
	return a.script.Receive(ctx)
}
