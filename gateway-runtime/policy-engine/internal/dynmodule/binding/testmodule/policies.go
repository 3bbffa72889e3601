//go:build inenvoy

package main

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"runtime"
	"time"

	"gatewright.dev/sdk/policy/v1alpha"
)

type attached struct {
	policy v1alpha.Policy
	mode   v1alpha.ProcessingModeConfig
}

// policies are those of the chains, by the chain's id. "late-ID" is the policy ID behind a wait of up to 3 ms, "slow-ID"
// behind one of 0.7 s, which is less than the timeout of an execution.
func (h *host) policies() map[string]attached {
	both := v1alpha.ProcessingModeConfig{RequestHeaderMode: v1alpha.HeaderProcess, RequestBodyMode: v1alpha.BodySkip,
		ResponseHeaderMode: v1alpha.HeaderProcess, ResponseBodyMode: v1alpha.BodySkip}
	request := both
	request.ResponseHeaderMode = v1alpha.HeaderSkip
	all := map[string]attached{"stats": {scripted{request: h.stats}, request}}
	for id, script := range map[string]scripted{
		"headers":           {request: setRequest, response: setResponse},
		"panic":             {request: panics},
		"panic-response":    {response: panicsLater},
		"answer":            {request: answer},
		"answer-response":   {response: answerLater},
		"replace":           {request: replaceRequest, response: replaceResponse},
		"empty-header":      {request: setEmpty},
		"analytics":         {request: analyze, response: analyzeResponse},
		"leave-its-process": {request: ends},
	} {
		all[id] = attached{script, both}
		all["late-"+id] = attached{delayed{script, func() time.Duration { return rand.N(3 * time.Millisecond) }}, both}
		all["slow-"+id] = attached{delayed{script, func() time.Duration { return 700 * time.Millisecond }}, both}
	}
	all["goroutine-headers"] = attached{delayed{scripted{request: setRequest, response: setResponse}, nil}, both}
	all["request-only"] = attached{scripted{request: setRequest}, request}
	all["late-request-only"] = attached{delayed{scripted{request: setRequest}, func() time.Duration { return rand.N(3 * time.Millisecond) }}, request}
	return all
}

// scripted never blocks.
type scripted struct {
	request  func(*v1alpha.RequestContext) v1alpha.RequestAction
	response func(*v1alpha.ResponseContext) v1alpha.ResponseAction
}

func (scripted) NeverBlocks() {}
func (scripted) Close() error { return nil }

func (s scripted) OnRequest(_ context.Context, r *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	if s.request == nil {
		return nil, nil
	}
	return s.request(r), nil
}

func (s scripted) OnResponse(_ context.Context, r *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	if s.response == nil {
		return nil, nil
	}
	return s.response(r), nil
}

// delayed may wait.
type delayed struct {
	script scripted
	wait   func() time.Duration // nil: it does not
}

func (delayed) Close() error { return nil }

func (d delayed) sleep(ctx context.Context) error {
	if d.wait == nil {
		return nil
	}
	timer := time.NewTimer(d.wait())
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d delayed) OnRequest(ctx context.Context, r *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	if err := d.sleep(ctx); err != nil {
		return nil, err
	}
	return d.script.OnRequest(ctx, r)
}

func (d delayed) OnResponse(ctx context.Context, r *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	if err := d.sleep(ctx); err != nil {
		return nil, err
	}
	return d.script.OnResponse(ctx, r)
}

// ---------------------------------------------------------------- scripts

func setRequest(*v1alpha.RequestContext) v1alpha.RequestAction {
	path := "/moved"
	return &v1alpha.UpstreamRequestModifications{Path: &path, Headers: v1alpha.HeaderModifications{
		Remove: []string{"x-removed"}, Set: []v1alpha.Header{{Name: "x-set", Value: "one"}, {Name: "x-set", Value: "two"}},
		Append: []v1alpha.Header{{Name: "x-appended", Value: "more"}}}}
}

func setResponse(*v1alpha.ResponseContext) v1alpha.ResponseAction {
	return &v1alpha.UpstreamResponseModifications{StatusCode: 202, Headers: v1alpha.HeaderModifications{
		Remove: []string{"x-upstream"}, Set: []v1alpha.Header{{Name: "x-seen", Value: "é"}}}}
}

func setEmpty(*v1alpha.RequestContext) v1alpha.RequestAction {
	return &v1alpha.UpstreamRequestModifications{Headers: v1alpha.HeaderModifications{Set: []v1alpha.Header{{Name: "x-set", Value: ""}}}}
}

func panics(*v1alpha.RequestContext) v1alpha.RequestAction        { panic("oh") }
func panicsLater(*v1alpha.ResponseContext) v1alpha.ResponseAction { panic("oh") }
func ends(*v1alpha.RequestContext) v1alpha.RequestAction          { runtime.Goexit(); return nil }
func answer(*v1alpha.RequestContext) v1alpha.RequestAction        { return tea() }
func answerLater(*v1alpha.ResponseContext) v1alpha.ResponseAction { return tea() }

func tea() *v1alpha.ImmediateResponse {
	return &v1alpha.ImmediateResponse{StatusCode: 418, Body: []byte("tea"), Headers: []v1alpha.Header{
		{Name: "content-type", Value: "text/tea"}, {Name: "set-cookie", Value: "a=1"}, {Name: "set-cookie", Value: "b=2"}}}
}

func replaceRequest(*v1alpha.RequestContext) v1alpha.RequestAction {
	body := []byte("new request")
	return &v1alpha.UpstreamRequestModifications{Body: &body}
}

func replaceResponse(*v1alpha.ResponseContext) v1alpha.ResponseAction {
	body := []byte("new response")
	return &v1alpha.UpstreamResponseModifications{Body: &body}
}

func analyze(*v1alpha.RequestContext) v1alpha.RequestAction {
	return &v1alpha.UpstreamRequestModifications{AnalyticsMetadata: map[string]any{"first": "one", "list": []any{1, "two"}}}
}

func analyzeResponse(*v1alpha.ResponseContext) v1alpha.ResponseAction {
	return &v1alpha.UpstreamResponseModifications{AnalyticsMetadata: map[string]any{"second": true}}
}

// stats answers with what the module holds. The request that asks is one of its exchanges.
func (h *host) stats(*v1alpha.RequestContext) v1alpha.RequestAction {
	var memory runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&memory)
	stats := h.counters.Stats()
	body, _ := json.Marshal(map[string]any{"streams": h.module.Streams(), "goroutines": runtime.NumGoroutine(),
		"active": stats.Active, "exchanges": stats.Exchanges, "cancelled": stats.Cancelled, "heap": memory.HeapAlloc})
	return &v1alpha.ImmediateResponse{StatusCode: 200, Body: body}
}
