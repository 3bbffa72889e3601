package extproc_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"time"

	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/sdk/policy/v1alpha"
)

// fake is a policy of two functions. It never blocks.
type fake struct {
	request  func(*v1alpha.RequestContext) (v1alpha.RequestAction, error)
	response func(*v1alpha.ResponseContext) (v1alpha.ResponseAction, error)
}

func (f fake) OnRequest(_ context.Context, r *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	return f.request(r)
}

func (f fake) OnResponse(_ context.Context, r *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	return f.response(r)
}
func (fake) Close() error { return nil }
func (fake) NeverBlocks() {}

// slow is a policy that waits.
type slow struct {
	started, ended, release chan struct{}
}

func (s slow) OnRequest(ctx context.Context, _ *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	s.started <- struct{}{}
	select {
	case <-s.release:
	case <-ctx.Done():
	}
	s.ended <- struct{}{}
	return nil, ctx.Err()
}

func (slow) OnResponse(context.Context, *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	return nil, nil
}
func (slow) Close() error    { return nil }
func (slow) KeepsDeadlines() {}

const (
	onRequest      = 1 << iota
	onRequestBody  // and the body
	onResponse     //
	onResponseBody // and the body
	onRequestStream
	onResponseStream
)

func policy(name string, phases int, p v1alpha.Policy, change ...func(*chain.Settings)) *chain.Instance {
	settings := chain.Settings{}
	if phases&onRequest != 0 {
		settings.Mode.RequestHeaderMode = v1alpha.HeaderProcess
	}
	if phases&onRequestBody != 0 {
		settings.Mode.RequestBodyMode = v1alpha.BodyBuffer
	}
	if phases&onResponse != 0 {
		settings.Mode.ResponseHeaderMode = v1alpha.HeaderProcess
	}
	if phases&onResponseBody != 0 {
		settings.Mode.ResponseBodyMode = v1alpha.BodyBuffer
	}
	if phases&onRequestStream != 0 {
		settings.Mode.RequestBodyMode = v1alpha.BodyStream
	}
	if phases&onResponseStream != 0 {
		settings.Mode.ResponseBodyMode = v1alpha.BodyStream
	}
	for _, c := range change {
		c(&settings)
	}
	return chain.NewInstance(name, name+":v1.0.0", p, settings)
}

func set(name, value string) v1alpha.HeaderModifications {
	return v1alpha.HeaderModifications{Set: []v1alpha.Header{{Name: name, Value: value}}}
}

func appended(name, value string) v1alpha.HeaderModifications {
	return v1alpha.HeaderModifications{Append: []v1alpha.Header{{Name: name, Value: value}}}
}

func requestDoes(action func(*v1alpha.RequestContext) v1alpha.RequestAction) fake {
	return fake{request: func(r *v1alpha.RequestContext) (v1alpha.RequestAction, error) { return action(r), nil }}
}

func responseDoes(action func(*v1alpha.ResponseContext) v1alpha.ResponseAction) fake {
	return fake{response: func(r *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) { return action(r), nil }}
}

// mark appends name to X-Order in both phases.
func mark(name string) fake {
	return fake{
		request: func(*v1alpha.RequestContext) (v1alpha.RequestAction, error) {
			return &v1alpha.UpstreamRequestModifications{Headers: appended("X-Order", name)}, nil
		},
		response: func(*v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
			return &v1alpha.UpstreamResponseModifications{Headers: appended("X-Order", name)}, nil
		},
	}
}

// deny answers 401 to every request.
var deny = requestDoes(func(*v1alpha.RequestContext) v1alpha.RequestAction {
	return &v1alpha.ImmediateResponse{
		StatusCode: 401, Body: []byte("denied"),
		Headers: []v1alpha.Header{{Name: "Set-Cookie", Value: "x=1"}, {Name: "Set-Cookie", Value: "y=2"}, {Name: "Content-Type", Value: "text/x-denied"}},
	}
})

func requestBody(text string) *v1alpha.UpstreamRequestModifications {
	body := []byte(text)
	return &v1alpha.UpstreamRequestModifications{Body: &body}
}

func responseBody(text string) *v1alpha.UpstreamResponseModifications {
	body := []byte(text)
	return &v1alpha.UpstreamResponseModifications{Body: &body}
}

var shout = fake{
	request: func(r *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
		action := requestBody(strings.ToUpper(string(r.Body)) + "!")
		action.Headers = set("X-Shouted", "request")
		return action, nil
	},
	response: func(r *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
		action := responseBody(strings.ToUpper(string(r.Body)) + "!")
		action.Headers = set("X-Shouted", "response")
		return action, nil
	},
}

// leaves is a policy that leaves analytics in a hook and at the end of its stream, in both directions.
type leaves struct{ streams }

func (leaves) OnRequest(context.Context, *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	return &v1alpha.UpstreamRequestModifications{AnalyticsMetadata: map[string]any{"request": "head", "last": "request head"}}, nil
}

func (leaves) OnResponse(context.Context, *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	return &v1alpha.UpstreamResponseModifications{AnalyticsMetadata: map[string]any{"response": "head", "last": map[string]any{"a": "head"}}}, nil
}

func (l leaves) OnRequestStream(ctx context.Context, r *v1alpha.RequestContext, chunks v1alpha.Chunks) v1alpha.Chunks {
	return func(yield func([]byte, error) bool) {
		l.streams.OnRequestStream(ctx, r, chunks)(yield)
		r.Analytics.Values = map[string]any{"requestEnd": "secret=hunter2"}
	}
}

func (l leaves) OnResponseStream(ctx context.Context, r *v1alpha.ResponseContext, chunks v1alpha.Chunks) v1alpha.Chunks {
	return func(yield func([]byte, error) bool) {
		l.streams.OnResponseStream(ctx, r, chunks)(yield)
		r.Analytics.Values = map[string]any{"responseEnd": 7, "last": map[string]any{"b": "end"}}
	}
}

// streams is a policy that does the same with both bodies.
type streams func(trailers *v1alpha.Trailers, chunks v1alpha.Chunks, yield func([]byte, error) bool)

func (streams) OnRequest(context.Context, *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	return nil, nil
}

func (streams) OnResponse(context.Context, *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	return nil, nil
}
func (streams) Close() error { return nil }

func (s streams) OnRequestStream(_ context.Context, r *v1alpha.RequestContext, chunks v1alpha.Chunks) v1alpha.Chunks {
	return func(yield func([]byte, error) bool) { s(r.Trailers, chunks, yield) }
}

func (s streams) OnResponseStream(_ context.Context, r *v1alpha.ResponseContext, chunks v1alpha.Chunks) v1alpha.Chunks {
	return func(yield func([]byte, error) bool) { s(r.Trailers, chunks, yield) }
}

func shouts(_ *v1alpha.Trailers, chunks v1alpha.Chunks, yield func([]byte, error) bool) {
	for chunk, err := range chunks {
		if !yield(bytes.ToUpper(chunk), err) {
			return
		}
	}
}

// framed yields before it has read a chunk.
func framed(_ *v1alpha.Trailers, chunks v1alpha.Chunks, yield func([]byte, error) bool) {
	if !yield([]byte("<"), nil) {
		return
	}
	for chunk, err := range chunks {
		if !yield(chunk, err) {
			return
		}
	}
	yield([]byte(">"), nil)
}

// lets passes the headers on at once.
func lets(trailers *v1alpha.Trailers, chunks v1alpha.Chunks, yield func([]byte, error) bool) {
	if yield(nil, nil) {
		shouts(trailers, chunks, yield)
	}
}

// first passes one chunk, and ends.
func first(_ *v1alpha.Trailers, chunks v1alpha.Chunks, yield func([]byte, error) bool) {
	for chunk, err := range chunks {
		yield(chunk, err)
		return
	}
}

// ends passes chunks until one has an exclamation mark, then ends with err.
func ends(err error) streams {
	return func(_ *v1alpha.Trailers, chunks v1alpha.Chunks, yield func([]byte, error) bool) {
		for chunk, failed := range chunks {
			if bytes.Contains(chunk, []byte("!")) {
				yield(nil, err)
				return
			}
			if !yield(chunk, failed) {
				return
			}
			select {
			case passed <- struct{}{}:
			default:
			}
		}
	}
}

// passed holds a token once a policy that ends has passed a chunk.
var passed = make(chan struct{}, 1)

// setsTrailers changes the first, removes X-Gone, and adds X-New.
func setsTrailers(trailers *v1alpha.Trailers, chunks v1alpha.Chunks, yield func([]byte, error) bool) {
	shouts(trailers, chunks, yield)
	trailers.Remove, trailers.Set = []string{"x-gone"}, []v1alpha.Header{{Name: "X-New", Value: "1"}}
	if len(trailers.Headers) > 0 {
		first := trailers.Headers[0]
		trailers.Set = append(trailers.Set, v1alpha.Header{Name: first.Name, Value: "saw " + first.Value})
	}
}

var gone = slow{started: make(chan struct{}, 1), ended: make(chan struct{}, 1), release: make(chan struct{})}
var late = slow{started: make(chan struct{}, 1), ended: make(chan struct{}, 1), release: make(chan struct{})}

func lasting(timeout time.Duration) func(*chain.Settings) {
	return func(s *chain.Settings) { s.Timeout = timeout }
}

func atMost(bytes int64, reaction chain.Reaction) func(*chain.Settings) {
	return func(s *chain.Settings) { s.MaxBodyBytes, s.OnError.Default = bytes, reaction }
}

var seesBody = fake{
	request:  func(*v1alpha.RequestContext) (v1alpha.RequestAction, error) { return nil, nil },
	response: func(*v1alpha.ResponseContext) (v1alpha.ResponseAction, error) { return nil, nil },
}

// scenarios are the chains of the tests. A chain NAME serves /NAME/.
var scenarios = map[string][]*chain.Instance{
	"encodes-buffer": {policy("outer", onRequest|onResponse, mark("outer")), policy("shout", onRequestBody|onResponseBody, shout)},
	"encodes-stream": {policy("outer", onRequest|onResponse, mark("outer")), policy("shout", onRequestStream|onResponseStream, streams(shouts))},
	"stream-shout":   {policy("shout", onRequestStream|onResponseStream, streams(shouts))},
	"stream-mixed":   {policy("outer", onRequest|onResponse, mark("outer")), policy("one", onRequestStream|onResponseStream, streams(shouts)), policy("sees", onRequestBody|onResponseBody, seesBody, atMost(64<<20, chain.Fail)), policy("two", onRequestStream|onResponseStream, streams(framed))},
	"stream-frames":  {policy("frames", onRequestStream|onResponseStream, streams(framed))},
	"stream-lets":    {policy("lets", onRequestStream|onResponseStream, streams(lets))},
	"stream-stops":   {policy("stops", onRequestStream|onResponseStream, streams(first))},
	"stream-rejects-request": {policy("outer", onRequest|onResponse, mark("outer")), policy("rejects", onRequestStream,
		ends(&v1alpha.Reject{Response: &v1alpha.ImmediateResponse{StatusCode: 418, Body: []byte("teapot")}}))},
	"stream-rejects-alone": {policy("rejects", onRequestStream,
		ends(&v1alpha.Reject{Response: &v1alpha.ImmediateResponse{StatusCode: 418, Body: []byte("teapot")}}))},
	"stream-fails-response": {policy("fails", onResponseStream, ends(errors.New("secret")))},
	"stream-trailers":       {policy("trailers", onRequestStream|onResponseStream, streams(setsTrailers))},
	"stream-analytics":      {policy("leaves", onRequest|onResponse|onRequestStream|onResponseStream, leaves{streams(setsTrailers)})},
	"request-buffers":       {policy("first", onRequest, mark("first")), policy("sees", onRequestBody, seesBody)},
	"request-streams":       {policy("first", onRequest, mark("first")), policy("shout", onRequestStream, streams(shouts))},
	"nowhere-request":       {policy("first", onRequest, mark("first"))},
	"nowhere-request-body":  {policy("sees", onRequestBody, seesBody)},
	"denies":                {policy("deny", onRequest, deny)},
	"request-order":         {policy("first", onRequest, mark("first")), policy("second", onRequest, mark("second"))},
	"order":                 {policy("first", onRequest|onResponse, mark("first")), policy("second", onRequest|onResponse, mark("second"))},
	"response-only":         {policy("only", onResponse, mark("only"))},
	"deny-header":           {policy("outer", onRequest|onResponse, mark("outer")), policy("deny", onRequest, deny)},
	"deny-body":             {policy("outer", onRequest|onResponse, mark("outer")), policy("deny", onRequestBody, deny)},
	"shout":                 {policy("shout", onRequest|onRequestBody|onResponse|onResponseBody, shout)},
	"shout-headers":         {policy("shout", onRequest|onResponse, shout)},
	"pass-bodies":           {policy("sees", onRequestBody|onResponseBody, seesBody, atMost(64<<20, chain.Fail))},
	"small":                 {policy("outer", onRequest|onResponse, mark("outer")), policy("sees", onRequestBody|onResponseBody, seesBody, atMost(1000, chain.Fail))},
	"small-goes-on":         {policy("sees", onRequestBody|onResponseBody, seesBody, atMost(1000, chain.Continue)), policy("marks", onRequest|onResponse, mark("late"))},
	"panics": {policy("outer", onRequest|onResponse, mark("outer")), policy("panics", onRequest, requestDoes(
		func(*v1alpha.RequestContext) v1alpha.RequestAction { panic("secret") }))},
	"answers-late": {policy("outer", onResponse, mark("outer")), policy("answers", onResponse, responseDoes(
		func(*v1alpha.ResponseContext) v1alpha.ResponseAction {
			return &v1alpha.ImmediateResponse{StatusCode: 418, Body: []byte("teapot")}
		}))},
	"status": {policy("status", onResponse|onResponseBody, responseDoes(
		func(*v1alpha.ResponseContext) v1alpha.ResponseAction {
			return &v1alpha.UpstreamResponseModifications{StatusCode: 203}
		}))},
	"no-content": {policy("status", onResponse, responseDoes(
		func(*v1alpha.ResponseContext) v1alpha.ResponseAction {
			return &v1alpha.UpstreamResponseModifications{StatusCode: 204}
		}))},
	"no-content-body": {policy("status", onResponseBody, responseDoes(
		func(*v1alpha.ResponseContext) v1alpha.ResponseAction {
			return &v1alpha.UpstreamResponseModifications{StatusCode: 204}
		}))},
	"reroute": {policy("reroute", onRequest, requestDoes(func(*v1alpha.RequestContext) v1alpha.RequestAction {
		path, query, method, authority := "/reroute/elsewhere", "q=1", "PUT", "other.example"
		return &v1alpha.UpstreamRequestModifications{Path: &path, Query: &query, Method: &method, Authority: &authority}
	}))},
	"chooses-upstream": {policy("chooses", onRequest, requestDoes(func(r *v1alpha.RequestContext) v1alpha.RequestAction {
		upstream := r.Headers.Get("x-upstream")
		return &v1alpha.UpstreamRequestModifications{Upstream: &upstream}
	}))},
	"headers": {policy("headers", onRequest|onResponse, fake{
		request: func(*v1alpha.RequestContext) (v1alpha.RequestAction, error) {
			return &v1alpha.UpstreamRequestModifications{Headers: v1alpha.HeaderModifications{
				Remove: []string{"X-Remove", "X-Absent"},
				Set:    []v1alpha.Header{{Name: "X-Set", Value: "1"}, {Name: "X-Set", Value: "2"}, {Name: "X-Bytes", Value: "\xff\xfe"}, {Name: "X-Empty"}},
				Append: []v1alpha.Header{{Name: "X-Append", Value: "new"}, {Name: "Cookie", Value: "c=3"}},
			}}, nil
		},
		response: func(*v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
			return &v1alpha.UpstreamResponseModifications{Headers: v1alpha.HeaderModifications{
				Append: []v1alpha.Header{{Name: "Set-Cookie", Value: "c=3"}, {Name: "Set-Cookie", Value: "d=4"}},
				Remove: []string{"X-Upstream"},
			}}, nil
		},
	})},
	"analytics": {policy("counts", onRequest|onResponse, fake{
		request: func(*v1alpha.RequestContext) (v1alpha.RequestAction, error) {
			return &v1alpha.UpstreamRequestModifications{AnalyticsMetadata: map[string]any{"tenant": "acme", "n": 3}}, nil
		},
		response: func(*v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
			return &v1alpha.UpstreamResponseModifications{AnalyticsMetadata: map[string]any{"cached": true}}, nil
		},
	})},
	"analytics-answer": {policy("counts", onRequest, requestDoes(func(*v1alpha.RequestContext) v1alpha.RequestAction {
		return &v1alpha.ImmediateResponse{StatusCode: 403, AnalyticsMetadata: map[string]any{"why": []string{"no", "way"}}}
	}))},
	"gone":             {policy("gone", onRequest|onResponse, gone, lasting(await.Limit))},
	"late":             {policy("late", onRequest|onResponse, late, lasting(await.Limit))},
	"nowhere":          {policy("outer", onRequest|onResponse, mark("outer"))},
	"nowhere-body":     {policy("shout", onRequest|onRequestBody|onResponse|onResponseBody, shout)},
	"waits-for-body":   {policy("outer", onRequest|onResponse, mark("outer")), policy("sees", onRequestBody|onResponseBody, seesBody)},
	"adds-body":        {policy("adds", onRequest, requestDoes(func(*v1alpha.RequestContext) v1alpha.RequestAction { return requestBody("added") }))},
	"adds-body-duplex": {policy("adds", onRequest|onRequestBody, requestDoes(func(*v1alpha.RequestContext) v1alpha.RequestAction { return requestBody("added") }))},
	"empties-body": {policy("empties", onRequestBody|onResponseBody, fake{
		request:  func(*v1alpha.RequestContext) (v1alpha.RequestAction, error) { return requestBody(""), nil },
		response: func(*v1alpha.ResponseContext) (v1alpha.ResponseAction, error) { return responseBody(""), nil },
	})},
}
