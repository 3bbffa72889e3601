package chain_test

import (
	"context"
	"fmt"
	"testing"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/sdk/policy/v1alpha"
)

// flow is a policy's work on a body. name is the policy's.
type flow func(ctx context.Context, t *transcript, name string, trailers *v1alpha.Trailers, chunks v1alpha.Chunks) v1alpha.Chunks

// flows is a policy that streams bodies.
type flows struct {
	does *does
	flow flow
}

func (f *flows) OnRequest(ctx context.Context, r *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	return f.does.OnRequest(ctx, r)
}

func (f *flows) OnResponse(ctx context.Context, r *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	return f.does.OnResponse(ctx, r)
}
func (f *flows) Close() error { return nil }

func (f *flows) OnRequestStream(ctx context.Context, r *v1alpha.RequestContext, chunks v1alpha.Chunks) v1alpha.Chunks {
	f.does.t.say("%s: request stream%s", f.does.name, mark(r.Headers))
	return f.flow(ctx, f.does.t, f.does.name, r.Trailers, chunks)
}

func (f *flows) OnResponseStream(ctx context.Context, r *v1alpha.ResponseContext, chunks v1alpha.Chunks) v1alpha.Chunks {
	f.does.t.say("%s: response stream %d%s", f.does.name, r.StatusCode, mark(r.Headers))
	return f.flow(ctx, f.does.t, f.does.name, r.Trailers, chunks)
}

// The kinds of policies, by how the chain runs them.
type inlineFlows struct{ *flows }
type keepingFlows struct{ *flows }

func (inlineFlows) NeverBlocks()     {}
func (keepingFlows) KeepsDeadlines() {}

var kinds = map[string]func(*flows) v1alpha.Policy{
	"inline":  func(f *flows) v1alpha.Policy { return inlineFlows{f} },
	"keeping": func(f *flows) v1alpha.Policy { return keepingFlows{f} },
	"guarded": func(f *flows) v1alpha.Policy { return f },
}

// everyKind runs a test with each kind of policy.
func everyKind(t *testing.T, test func(t *testing.T, kind string)) {
	t.Helper()
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) { test(t, kind) })
	}
}

func (t *transcript) streams(kind, name, letters string, flow flow, settings ...func(*chain.Settings)) *chain.Instance {
	return t.streamsAnd(kind, &does{name: name}, letters, flow, settings...)
}

func (t *transcript) streamsAnd(kind string, d *does, letters string, flow flow, settings ...func(*chain.Settings)) *chain.Instance {
	d.t = t
	s := chain.Settings{Mode: modes(letters)}
	for _, set := range settings {
		set(&s)
	}
	return chain.NewInstance(d.name, d.name+":v1.0.0", kinds[kind](&flows{d, flow}), s)
}

// wraps yields each chunk in the policy's name, and says when it ends.
func wraps(_ context.Context, t *transcript, name string, _ *v1alpha.Trailers, chunks v1alpha.Chunks) v1alpha.Chunks {
	return func(yield func([]byte, error) bool) {
		defer t.say("%s ends", name)
		for chunk, err := range chunks {
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(fmt.Appendf(nil, "%s(%s)", name, chunk), nil) {
				return
			}
		}
	}
}

// after yields n chunks as they are, then the chunk or the error.
func after(n int, last []byte, err error) flow {
	return func(_ context.Context, t *transcript, name string, _ *v1alpha.Trailers, chunks v1alpha.Chunks) v1alpha.Chunks {
		return func(yield func([]byte, error) bool) {
			defer t.say("%s ends", name)
			left := n
			for chunk, failed := range chunks {
				if failed != nil {
					yield(nil, failed)
					return
				}
				if left--; left < 0 {
					break
				}
				if !yield(chunk, nil) {
					return
				}
			}
			yield(last, err)
		}
	}
}

// lets passes the headers on at once, then wraps.
func lets(ctx context.Context, t *transcript, name string, trailers *v1alpha.Trailers, chunks v1alpha.Chunks) v1alpha.Chunks {
	return func(yield func([]byte, error) bool) {
		if yield(nil, nil) {
			wraps(ctx, t, name, trailers, chunks)(yield)
		}
	}
}

// inTurn has the response wait until the request has gone.
func (t *transcript) inTurn() *transcript {
	t.gone = make(chan struct{})
	t.waits = func(ctx context.Context, what string) error {
		if what != "response" {
			return nil
		}
		select {
		case <-t.gone:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return t
}
