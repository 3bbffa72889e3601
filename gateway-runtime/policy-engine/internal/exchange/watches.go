package exchange

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/proxyanswer"
	"gatewright.dev/sdk/policy/v1alpha"
)

// Watch decides at the beginning of each exchange whether to watch it; nil: not. It must not block. c is nil if the
// exchange has no chain: its chain is unknown, or the proxy has refused it; an exchange that the proxy has refused has
// no head either.
type Watch func(ctx context.Context, opening Opening, head chain.Head, c *chain.Chain) Watcher

// Watcher observes one exchange in detail.
type Watcher interface {
	chain.Watcher
	// ExchangeEnded comes last.
	ExchangeEnded(exchange Exchange)
}

// Watches are the sources of watchers, by name. The zero value has none: exchanges then pay nothing for it. Changes
// while exchanges run affect those that begin afterwards.
type Watches struct {
	mutex  sync.Mutex
	byName map[string]Watch
	list   atomic.Pointer[[]Watch] // in order of their names; nil: none
}

// Set sets the watch with this name; nil: removes it.
func (w *Watches) Set(name string, watch Watch) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if watch == nil {
		delete(w.byName, name)
	} else {
		if w.byName == nil {
			w.byName = map[string]Watch{}
		}
		w.byName[name] = watch
	}
	if len(w.byName) == 0 {
		w.list.Store(nil)
		return
	}
	list := make([]Watch, 0, len(w.byName))
	for _, name := range slices.Sorted(maps.Keys(w.byName)) {
		list = append(list, w.byName[name])
	}
	w.list.Store(&list)
}

// watch calls all of them.
//
//go:noinline
func watch(ctx context.Context, list []Watch, opening *Opening, front FrontEnd, c *chain.Chain) Watcher {
	var head chain.Head
	if opening.Refusal == 0 {
		head = front.Request()
	}
	var active watchers
	var trace *Trace
	for _, watch := range list {
		if watcher := watch(ctx, *opening, head, c); watcher != nil {
			active = append(active, watcher)
			if tracing, ok := watcher.(traced); ok {
				trace = tracing.Trace()
			}
		}
	}
	if trace != nil {
		front.SetTrace(trace)
		active.setTrace(trace)
	}
	if c != nil && !c.Mode().WantsResponse() && active.wantResponse() {
		front.ShowResponse(active.show)
	}
	if c != nil && active.wantProxyAnswer() {
		front.ShowProxyAnswer(active.showProxyAnswer)
	}
	switch len(active) {
	case 0:
		return nil
	case 1:
		return active[0]
	}
	return active
}

// wantsResponse is a Watcher that needs the response even if no policy of the chain sees it. The proxy then sends the
// engine one more message.
type wantsResponse interface{ WantsResponse() }

// wantResponse reports whether a watcher needs the response.
func (w watchers) wantResponse() bool {
	return slices.ContainsFunc(w, func(watcher Watcher) bool { _, wants := watcher.(wantsResponse); return wants })
}

// show reports a response that the chain does not see.
func (w watchers) show(side chain.Side, response chain.Head) {
	w.MessageHead(chain.Response, side, chain.View{
		HasResponse: true, Status: response.Status, ResponseHeaders: response.Headers, ResponseBody: chain.BodyView{Whole: response.Ended},
	})
}

// wantsProxyAnswer is a Watcher that needs to know whether the proxy has made the response by itself. It is called
// before the response's head.
type wantsProxyAnswer interface {
	ProxyAnswered(answer proxyanswer.Answer)
}

func (w watchers) wantProxyAnswer() bool {
	return slices.ContainsFunc(w, func(watcher Watcher) bool { _, wants := watcher.(wantsProxyAnswer); return wants })
}

func (w watchers) showProxyAnswer(answer proxyanswer.Answer) {
	for _, watcher := range w {
		if wants, ok := watcher.(wantsProxyAnswer); ok {
			wants.ProxyAnswered(answer)
		}
	}
}

// setTrace passes the trace to the watchers that need it.
func (w watchers) setTrace(trace *Trace) {
	for _, watcher := range w {
		if wants, ok := watcher.(interface{ SetTrace(trace *Trace) }); ok {
			wants.SetTrace(trace)
		}
	}
}

// watchers receive the same events, one after the other. Each derives the context of a hook from the one before.
type watchers []Watcher

func (w watchers) ExecutionBegan(ctx context.Context, turn chain.Turn, seen chain.View) context.Context {
	for _, watcher := range w {
		ctx = watcher.ExecutionBegan(ctx, turn, seen)
	}
	return ctx
}

func (w watchers) ExecutionEnded(turn chain.Turn, execution chain.Execution, left chain.View) {
	for _, watcher := range w {
		watcher.ExecutionEnded(turn, execution, left)
	}
}

func (w watchers) ExecutionSkipped(turn chain.Turn, condition string) {
	for _, watcher := range w {
		watcher.ExecutionSkipped(turn, condition)
	}
}

func (w watchers) StreamChunk(turn chain.Turn, side chain.Side, chunk []byte) {
	for _, watcher := range w {
		watcher.StreamChunk(turn, side, chunk)
	}
}

func (w watchers) ShadowBegan(ctx context.Context, turn chain.Turn) context.Context {
	for _, watcher := range w {
		ctx = watcher.ShadowBegan(ctx, turn)
	}
	return ctx
}

func (w watchers) ShadowEnded(turn chain.Turn, shadow chain.Shadow) {
	for _, watcher := range w {
		watcher.ShadowEnded(turn, shadow)
	}
}

func (w watchers) MessageHead(direction chain.Direction, side chain.Side, message chain.View) {
	for _, watcher := range w {
		watcher.MessageHead(direction, side, message)
	}
}

func (w watchers) MessagePiece(direction chain.Direction, side chain.Side, piece []byte) {
	for _, watcher := range w {
		watcher.MessagePiece(direction, side, piece)
	}
}

func (w watchers) MessageRest(direction chain.Direction) {
	for _, watcher := range w {
		watcher.MessageRest(direction)
	}
}

func (w watchers) MessageTrailers(direction chain.Direction, side chain.Side, trailers v1alpha.Headers) {
	for _, watcher := range w {
		watcher.MessageTrailers(direction, side, trailers)
	}
}

func (w watchers) MessageAnalytics(direction chain.Direction, analytics map[string]any) {
	for _, watcher := range w {
		watcher.MessageAnalytics(direction, analytics)
	}
}

func (w watchers) ExchangeEnded(exchange Exchange) {
	for _, watcher := range w {
		watcher.ExchangeEnded(exchange)
	}
}
