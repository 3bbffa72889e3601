package extproc_test

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	servicev3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"pgregory.net/rapid"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/exchange"
	"gatewright.dev/policy-engine/internal/extproc"
	"gatewright.dev/policy-engine/internal/property"
)

// script is an Envoy that sends its messages regardless of the engine's, and closes the stream. Messages pass the
// engine's codec, as on the wire.
type script struct {
	ctx   context.Context
	mutex sync.Mutex // guards got
	sends []*servicev3.ProcessingRequest
	got   []*servicev3.ProcessingResponse
}

func (s *script) Context() context.Context { return s.ctx }

func (s *script) Keep(int) {}

func (s *script) Receive(context.Context) ([]byte, error) {
	if len(s.sends) == 0 {
		return nil, io.EOF
	}
	next := s.sends[0]
	s.sends = s.sends[1:]
	return proto.Marshal(next)
}

func (s *script) Send(message, rest []byte) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	message = slices.Concat(message, rest)
	response := &servicev3.ProcessingResponse{}
	s.got = append(s.got, response)
	return proto.Unmarshal(message, response)
}

// opening is the first message for the chain with that name.
func opening(name string, ended bool) *servicev3.ProcessingRequest {
	attributes := must(structpb.NewStruct(map[string]any{"xds.route_name": "api|GET /|" + name, "source.address": "192.0.2.1:5"}))
	modes := &servicev3.ProtocolConfiguration{}
	mode := must(chain.New(chain.Spec{ID: name, Instances: scenarios[name]})).Mode()
	if mode.WantsRequestBody() {
		modes.RequestBodyMode = filterv3.ProcessingMode_FULL_DUPLEX_STREAMED
	}
	if mode.WantsResponseBody() {
		modes.ResponseBodyMode = filterv3.ProcessingMode_FULL_DUPLEX_STREAMED
	}
	return &servicev3.ProcessingRequest{
		ProtocolConfig: modes,
		Attributes:     map[string]*structpb.Struct{"envoy.filters.http.ext_proc": attributes},
		Request: &servicev3.ProcessingRequest_RequestHeaders{RequestHeaders: &servicev3.HttpHeaders{
			EndOfStream: ended,
			Headers:     &corev3.HeaderMap{Headers: []*corev3.HeaderValue{{Key: ":method", RawValue: []byte("POST")}, {Key: ":path", RawValue: []byte("/x")}}},
		}},
	}
}

// anything is any message that Envoy could send after the first.
var anything = rapid.Custom(func(t *rapid.T) *servicev3.ProcessingRequest {
	body := &servicev3.HttpBody{Body: []byte("piece"), EndOfStream: rapid.Bool().Draw(t, "end")}
	headers := &servicev3.HttpHeaders{EndOfStream: rapid.Bool().Draw(t, "end")}
	switch rapid.IntRange(0, 6).Draw(t, "kind") {
	case 0:
		return &servicev3.ProcessingRequest{Request: &servicev3.ProcessingRequest_RequestHeaders{RequestHeaders: headers}}
	case 1:
		return &servicev3.ProcessingRequest{Request: &servicev3.ProcessingRequest_RequestBody{RequestBody: body}}
	case 2:
		return &servicev3.ProcessingRequest{Request: &servicev3.ProcessingRequest_RequestTrailers{}}
	case 3:
		return &servicev3.ProcessingRequest{Request: &servicev3.ProcessingRequest_ResponseHeaders{ResponseHeaders: headers}}
	case 4:
		return &servicev3.ProcessingRequest{Request: &servicev3.ProcessingRequest_ResponseBody{ResponseBody: body}}
	case 5:
		return &servicev3.ProcessingRequest{Request: &servicev3.ProcessingRequest_ResponseTrailers{}}
	default:
		return &servicev3.ProcessingRequest{}
	}
})

// countedServer is a server of the one chain, with its counters.
func countedServer(name string) (*extproc.Server, *exchange.Counters) {
	table, counters := &chain.Table{}, exchange.NewCounters(slog.New(slog.DiscardHandler))
	table.Put(must(chain.New(chain.Spec{ID: name, Context: "/", Instances: scenarios[name], Observer: counters})))
	return extproc.NewServer(exchange.NewServer(table, nil, counters, nil), nil, slog.New(slog.DiscardHandler)), counters
}

func serverOf(name string) *extproc.Server {
	server, _ := countedServer(name)
	return server
}

// TestNoConversationBypassesADenyingPolicy: with any messages from Envoy, the request never goes on. The stream ends
// with an error, or with the answer.
func TestNoConversationBypassesADenyingPolicy(t *testing.T) {
	property.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom([]string{"deny-header", "deny-body"}).Draw(t, "chain")
		stream := &script{ctx: context.Background(), sends: rapid.SliceOfN(anything, 0, 6).Draw(t, "messages")}
		if rapid.IntRange(0, 9).Draw(t, "proper start") > 0 {
			stream.sends = append([]*servicev3.ProcessingRequest{opening(name, rapid.Bool().Draw(t, "ended"))}, stream.sends...)
		}
		err := serverOf(name).Process(stream)
		answered := false
		for _, response := range stream.got {
			switch response.GetResponse().(type) {
			case *servicev3.ProcessingResponse_ImmediateResponse:
				answered = true
			case *servicev3.ProcessingResponse_RequestHeaders, *servicev3.ProcessingResponse_RequestBody, *servicev3.ProcessingResponse_RequestTrailers:
				t.Fatalf("the request went on: %v", response)
			}
		}
		responded := len(stream.got) > 0 // Envoy's own answer, sent in the middle of the request
		if err == nil && !answered && !responded {
			t.Fatal("the stream ended well without an answer")
		}
	})
}

func TestStreamsThatEndTooEarly(t *testing.T) {
	for label, sends := range map[string][]*servicev3.ProcessingRequest{
		"before it began":     nil,
		"before the body":     {opening("deny-body", false)},
		"before the response": {opening("order", true)},
		"with something else": {{Request: &servicev3.ProcessingRequest_ResponseHeaders{}}},
		"with nothing at all": {opening("order", true), {}},
		"with no chain's id":  {{Request: &servicev3.ProcessingRequest_RequestHeaders{}}, {}},
	} {
		name := "order"
		if label == "before the body" {
			name = "deny-body"
		}
		server, counters := countedServer(name)
		stream := &script{ctx: t.Context(), sends: sends}
		if err := server.Process(stream); err == nil && counters.Stats().UnknownChain == 0 {
			t.Errorf("%s: ended well", label)
		}
		if counters.Stats().Active != 0 {
			t.Errorf("%s: still active", label)
		}
	}
}

// TestAnExchangeWhoseResponseEndsFirstIsCancelled: Envoy resets the rest of the request, and the exchange counts as
// cancelled.
func TestAnExchangeWhoseResponseEndsFirstIsCancelled(t *testing.T) {
	for _, name := range []string{"stream-shout", "stream-frames", "stream-lets"} {
		end := &servicev3.ProcessingRequest{Request: &servicev3.ProcessingRequest_ResponseBody{ResponseBody: &servicev3.HttpBody{Body: []byte("early"), EndOfStream: true}}}
		piece := &servicev3.ProcessingRequest{Request: &servicev3.ProcessingRequest_RequestBody{RequestBody: &servicev3.HttpBody{Body: []byte("part")}}}
		head := &servicev3.ProcessingRequest{Request: &servicev3.ProcessingRequest_ResponseHeaders{ResponseHeaders: &servicev3.HttpHeaders{
			Headers: &corev3.HeaderMap{Headers: []*corev3.HeaderValue{{Key: ":status", RawValue: []byte("200")}}}}}}
		server, counters := countedServer(name)
		stream := &script{ctx: t.Context(), sends: []*servicev3.ProcessingRequest{opening(name, false), piece, head, end}}
		err := server.Process(stream)
		if stats := counters.Stats(); status.Code(err) != codes.Canceled || stats.Cancelled != 1 || stats.Active != 0 {
			t.Errorf("%s: %v, %+v", name, err, stats)
		}
	}
}

// conversation is a sequence of Envoy's messages for a request and its response, interleaved, and mostly incomplete.
func conversation(t *rapid.T) (sends []*servicev3.ProcessingRequest) {
	request, response := rapid.IntRange(0, 4).Draw(t, "of the request"), rapid.IntRange(0, 5).Draw(t, "of the response")
	for request+response > 0 {
		ofRequest := response == 0 || request > 0 && rapid.Bool().Draw(t, "request next")
		body := &servicev3.HttpBody{Body: []byte("piece")}
		switch {
		case ofRequest:
			request--
			body.EndOfStream = request == 0 && rapid.Bool().Draw(t, "request ends")
			sends = append(sends, &servicev3.ProcessingRequest{Request: &servicev3.ProcessingRequest_RequestBody{RequestBody: body}})
		case !slices.ContainsFunc(sends, func(sent *servicev3.ProcessingRequest) bool { return sent.GetResponseHeaders() != nil }):
			response--
			sends = append(sends, &servicev3.ProcessingRequest{Request: &servicev3.ProcessingRequest_ResponseHeaders{ResponseHeaders: &servicev3.HttpHeaders{}}})
		default:
			response--
			body.EndOfStream = response == 0 && rapid.Bool().Draw(t, "response ends")
			sends = append(sends, &servicev3.ProcessingRequest{Request: &servicev3.ProcessingRequest_ResponseBody{ResponseBody: body}})
		}
	}
	if rapid.IntRange(0, 3).Draw(t, "anything else") == 0 {
		sends = slices.Insert(sends, rapid.IntRange(0, len(sends)).Draw(t, "at"), anything.Draw(t, "else"))
	}
	return sends
}

// TestNoConversationCompletesABodyThatWasCut: with any messages from Envoy, a stream succeeds only if its input was
// complete.
func TestNoConversationCompletesABodyThatWasCut(t *testing.T) {
	property.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom([]string{"stream-shout", "stream-frames", "stream-lets", "stream-trailers"}).Draw(t, "chain")
		messages := append([]*servicev3.ProcessingRequest{opening(name, false)}, conversation(t)...)
		stream := &script{ctx: context.Background(), sends: slices.Clone(messages)}
		server, counters := countedServer(name)
		err := server.Process(stream)
		came, went := [2]bool{}, [2]bool{}
		for _, message := range messages {
			switch r := message.GetRequest().(type) {
			case *servicev3.ProcessingRequest_RequestBody:
				came[0] = came[0] || r.RequestBody.GetEndOfStream()
			case *servicev3.ProcessingRequest_ResponseBody:
				came[1] = came[1] || r.ResponseBody.GetEndOfStream()
			case *servicev3.ProcessingRequest_ResponseHeaders:
				came[1] = came[1] || r.ResponseHeaders.GetEndOfStream()
			case *servicev3.ProcessingRequest_RequestTrailers:
				came[0] = true
			case *servicev3.ProcessingRequest_ResponseTrailers:
				came[1] = true
			}
		}
		for _, response := range stream.got {
			switch r := response.GetResponse().(type) {
			case *servicev3.ProcessingResponse_RequestBody:
				went[0] = went[0] || r.RequestBody.GetResponse().GetBodyMutation().GetStreamedResponse().GetEndOfStream()
			case *servicev3.ProcessingResponse_ResponseBody:
				went[1] = went[1] || r.ResponseBody.GetResponse().GetBodyMutation().GetStreamedResponse().GetEndOfStream()
			case *servicev3.ProcessingResponse_RequestTrailers:
				went[0] = true
			case *servicev3.ProcessingResponse_ResponseTrailers:
				went[1] = true
			}
		}
		for direction, ended := range went {
			if ended && !came[direction] {
				t.Errorf("%s: a body that was cut went on as a whole one: %v", chain.Direction(direction), stream.got)
			}
		}
		if stats := counters.Stats(); stats.Active != 0 || (err == nil) != (stats.Cancelled+stats.Failed == 0) {
			t.Errorf("%v, %+v", err, stats)
		}
	})
}

// TestARequestThatEnvoyRefusesItself: its answer comes first, for an upgrade for example. Only its status is passed on.
func TestARequestThatEnvoyRefusesItself(t *testing.T) {
	refusal := func(status string) *servicev3.ProcessingRequest {
		return &servicev3.ProcessingRequest{Request: &servicev3.ProcessingRequest_ResponseHeaders{ResponseHeaders: &servicev3.HttpHeaders{
			Headers: &corev3.HeaderMap{Headers: []*corev3.HeaderValue{{Key: ":status", RawValue: []byte(status)}}}, EndOfStream: true}}}
	}
	server, counters := countedServer("order")
	stream := &script{ctx: t.Context(), sends: []*servicev3.ProcessingRequest{refusal("403")}}
	if err := server.Process(stream); err != nil || len(stream.got) != 1 {
		t.Fatalf("got %v, %v", err, stream.got)
	}
	answer := stream.got[0].GetImmediateResponse()
	if answer.GetStatus().GetCode() != 403 || !strings.Contains(string(answer.GetBody()), "Forbidden") || counters.Stats().Failed != 0 {
		t.Errorf("got %v, %+v", answer, counters.Stats())
	}
	stream = &script{ctx: t.Context(), sends: []*servicev3.ProcessingRequest{refusal("200")}}
	if err := server.Process(stream); err == nil || len(stream.got) != 0 {
		t.Errorf("a response without a request: got %v, %v", err, stream.got)
	}
}

// TestPanicOfTheFrontEnd: an unexpected message of Envoy must not make the stream succeed.
func TestPanicOfTheFrontEnd(t *testing.T) {
	stream := &script{ctx: t.Context(), sends: []*servicev3.ProcessingRequest{nil}}
	if err := serverOf("order").Process(stream); err == nil {
		t.Error("ended well")
	}
	noTable := exchange.NewServer(nil, nil, exchange.NewCounters(slog.New(slog.DiscardHandler)), nil)
	if err := extproc.NewServer(noTable, nil, slog.New(slog.DiscardHandler)).Process(&script{ctx: t.Context(), sends: []*servicev3.ProcessingRequest{opening("order", true)}}); err == nil {
		t.Error("a panic ended well")
	}
}
