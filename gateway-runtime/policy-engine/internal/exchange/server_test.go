package exchange_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/exchange"
	"gatewright.dev/policy-engine/internal/proxyanswer"
	"gatewright.dev/sdk/policy/v1alpha"
)

// front is a front end of no protocol. It notes its calls.
type front struct {
	opening  exchange.Opening
	failures map[string]error // by method
	panics   string           // a method
	calls    []string
	trace    *exchange.Trace
	head     chain.Head // zero: a GET of /
	show     func(chain.Side, chain.Head)
}

func (f *front) note(method string) error {
	f.calls = append(f.calls, method)
	if f.panics == method {
		panic("oh")
	}
	return f.failures[method]
}

func (f *front) Open(context.Context) (exchange.Opening, error) { return f.opening, f.note("open") }
func (f *front) SetRoute(name string)                           { _ = f.note("route " + name) }
func (f *front) SetTrace(trace *exchange.Trace)                 { f.trace = trace }
func (f *front) ShowResponse(show func(chain.Side, chain.Head)) { f.show = show }
func (f *front) PassRefusal() error                             { return f.note("pass") }
func (f *front) ShowProxyAnswer(func(proxyanswer.Answer))       {}
func (f *front) CheckMode(c *chain.Chain) error {
	return f.note(fmt.Sprintf("check %s", c.Mode().RequestHeaderMode))
}
func (f *front) Finish(context.Context) error {
	if f.show != nil {
		f.show(chain.Came, chain.Head{Status: 502, Ended: true})
		f.show(chain.Left, chain.Head{Status: 502, Ended: true})
	}
	return f.note("finish")
}
func (f *front) Request() chain.Head {
	if f.head.Method != "" {
		return f.head
	}
	return chain.Head{Method: "GET", Path: "/", RequestID: "id-1", Ended: true}
}
func (f *front) Response(context.Context) (chain.Head, error) {
	return chain.Head{Status: 200, Ended: true}, f.note("response")
}
func (f *front) NextPiece(context.Context, chain.Direction) ([]byte, error) { return nil, io.EOF }
func (f *front) HasBody(context.Context, chain.Direction) (bool, error)     { return false, nil }
func (f *front) Trailers(chain.Direction) (v1alpha.Headers, error)          { return nil, nil }
func (f *front) SendHeaders(chain.Direction, chain.Changes) error           { return f.note("headers") }
func (f *front) SendPiece(context.Context, chain.Direction, []byte) error   { return nil }
func (f *front) CopyRest(chain.Direction, func([]byte))                     {}
func (f *front) SendRest(context.Context, chain.Direction) error            { return nil }
func (f *front) SendLast(context.Context, chain.Direction, []byte, chain.End) error {
	return nil
}
func (f *front) Answer(answer chain.Answer) error {
	return f.note(fmt.Sprintf("answer %d %s", answer.Status, answer.Details))
}

// passes is a policy that changes nothing.
type passes struct{}

func (passes) OnRequest(context.Context, *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	return nil, nil
}
func (passes) OnResponse(context.Context, *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	return nil, nil
}
func (passes) Close() error { return nil }

// serve runs front through a server that has the chain "known".
func serve(t *testing.T, ctx context.Context, front *front) (*exchange.Counters, string, error) {
	t.Helper()
	var log bytes.Buffer
	counters := exchange.NewCounters(slog.New(slog.NewTextHandler(&log, nil)))
	mode := v1alpha.ProcessingModeConfig{RequestHeaderMode: v1alpha.HeaderProcess}
	c, err := chain.New(chain.Spec{ID: "known", API: "a", Operation: "GET /", Observer: counters,
		Instances: []*chain.Instance{chain.NewInstance("i", "p:v1.0.0", passes{}, chain.Settings{Mode: mode})}})
	if err != nil {
		t.Fatal(err)
	}
	table := &chain.Table{}
	table.Put(c)
	err = exchange.NewServer(table, nil, counters, nil).Serve(ctx, front)
	if c.Active() != 0 || counters.Stats().Active != 0 || counters.Stats().Exchanges != 1 {
		t.Errorf("expected one exchange, and none under way: %+v, %d in the chain", counters.Stats(), c.Active())
	}
	return counters, log.String(), err
}

func TestAnExchangePassesItsChain(t *testing.T) {
	f := &front{opening: exchange.Opening{RequestID: "id-1", ChainID: "known"}}
	counters, log, err := serve(t, t.Context(), f)
	if got := strings.Join(f.calls, ", "); err != nil || log != "" || got != "open, check PROCESS, headers, finish" {
		t.Errorf("got %v, %s, %s", err, got, log)
	}
	if stats := counters.ExecutionStats(); len(stats) != 1 || stats[0].Executions != 1 || stats[0].API != "a" {
		t.Errorf("got %+v", stats)
	}
}

func TestAnUnknownChainIsAnswered(t *testing.T) {
	f := &front{opening: exchange.Opening{RequestID: "id-1", ChainID: "other", Route: "a|GET /|other"}}
	counters, log, err := serve(t, t.Context(), f)
	if got := strings.Join(f.calls, ", "); err != nil || got != "open, answer 503 unknown_chain" || counters.Stats().UnknownChain != 1 {
		t.Errorf("got %v, %s, %+v", err, got, counters.Stats())
	}
	if !strings.Contains(log, `msg="unknown chain" requestId=id-1 chain=other route="a|GET /|other"`) {
		t.Errorf("got %s", log)
	}
}

// TestARefusalOfAFilterGoesOnAsItIs, since the engine has nothing to add to it.
func TestARefusalOfAFilterGoesOnAsItIs(t *testing.T) {
	f := &front{opening: exchange.Opening{Refusal: 429}}
	if _, _, err := serve(t, t.Context(), f); err != nil || strings.Join(f.calls, ", ") != "open, pass" {
		t.Errorf("got %q, %v", f.calls, err)
	}
}

func TestARefusalOfTheProxyKeepsItsStatus(t *testing.T) {
	f := &front{opening: exchange.Opening{Refusal: 403}}
	if _, _, err := serve(t, t.Context(), f); err != nil || strings.Join(f.calls, ", ") != "open, answer 403 proxy_refused" {
		t.Errorf("got %v, %v", err, f.calls)
	}
}

func TestAnExchangeFailsClosed(t *testing.T) {
	stopped, stop := context.WithCancel(context.Background())
	stop()
	oh := errors.New("oh")
	for name, c := range map[string]struct {
		front *front
		ctx   context.Context
		want  error
	}{
		"nothing comes":          {&front{failures: map[string]error{"open": oh}}, nil, exchange.ErrFailed},
		"the mode does not fit":  {&front{failures: map[string]error{"check PROCESS": oh}}, nil, exchange.ErrFailed},
		"sending fails":          {&front{failures: map[string]error{"headers": oh}}, nil, exchange.ErrFailed},
		"the rest does not pass": {&front{failures: map[string]error{"finish": oh}}, nil, exchange.ErrFailed},
		"a panic":                {&front{panics: "check PROCESS"}, nil, exchange.ErrFailed},
		"the proxy cancels":      {&front{failures: map[string]error{"finish": fmt.Errorf("closed: %w", exchange.ErrProxyCancelled)}}, nil, exchange.ErrCancelled},
		"the context is done":    {&front{}, stopped, exchange.ErrCancelled},
	} {
		c.front.opening = exchange.Opening{RequestID: "id-1", ChainID: "known"}
		if c.ctx == nil {
			c.ctx = t.Context()
		}
		counters, log, err := serve(t, c.ctx, c.front)
		stats := counters.Stats()
		failed := errors.Is(c.want, exchange.ErrFailed)
		if !errors.Is(err, c.want) || failed != (stats.Failed == 1) || failed == (stats.Cancelled == 1) {
			t.Errorf("%s: expected %v, got %v, %+v", name, c.want, err, stats)
		}
		if strings.Contains(log, "exchange failed") != failed || failed && !strings.Contains(log, "requestId=id-1 chain=") {
			t.Errorf("%s: got %s", name, log)
		}
	}
}
