package exchange_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/exchange"
	"gatewright.dev/sdk/policy/v1alpha"
)

// watcher notes its calls, under its name.
type watcher struct {
	name  string
	notes *[]string
}

func (w watcher) note(format string, args ...any) {
	*w.notes = append(*w.notes, w.name+" "+fmt.Sprintf(format, args...))
}

func (w watcher) ExecutionBegan(ctx context.Context, turn chain.Turn, _ chain.View) context.Context {
	w.note("%s began", turn.Policy)
	return context.WithValue(ctx, watcher{name: w.name}, true)
}

func (w watcher) ExecutionEnded(turn chain.Turn, _ chain.Execution, _ chain.View) {
	w.note("%s ended", turn.Policy)
}
func (w watcher) ExecutionSkipped(turn chain.Turn, condition string) {
	w.note("%s skipped: %s", turn.Policy, condition)
}
func (w watcher) StreamChunk(chain.Turn, chain.Side, []byte) { w.note("chunk") }
func (w watcher) MessageHead(direction chain.Direction, _ chain.Side, message chain.View) {
	w.note("%s head %d %s", direction, message.Status, message.Details)
}
func (w watcher) MessagePiece(chain.Direction, chain.Side, []byte)              { w.note("piece") }
func (w watcher) MessageRest(chain.Direction)                                   { w.note("rest") }
func (w watcher) ShadowBegan(ctx context.Context, _ chain.Turn) context.Context { return ctx }

func (w watcher) ShadowEnded(chain.Turn, chain.Shadow) {}

func (w watcher) MessageTrailers(chain.Direction, chain.Side, v1alpha.Headers) {
	w.note("trailers")
}

func (w watcher) MessageAnalytics(chain.Direction, map[string]any) { w.note("analytics") }

func (w watcher) ExchangeEnded(ended exchange.Exchange) {
	w.note("ended %d %v", ended.Result, ended.Err)
}

// wanting is a watcher that needs the response, too.
type wanting struct{ watcher }

func (wanting) WantsResponse() {}

// watched runs f through a server with watchers of these names, and returns their notes.
func watched(t *testing.T, f *front, names ...string) []string {
	t.Helper()
	notes, watches := []string{}, &exchange.Watches{}
	for _, name := range names {
		watches.Set(name, func(_ context.Context, opening exchange.Opening, head chain.Head, c *chain.Chain) exchange.Watcher {
			if name == "blind" {
				return nil
			}
			w := watcher{name, &notes}
			w.note("asked of %s %s, chain %t", opening.ChainID, head.Method, c != nil)
			if name == "wants" {
				return wanting{w}
			}
			return w
		})
	}
	counters := exchange.NewCounters(slog.New(slog.DiscardHandler))
	mode := v1alpha.ProcessingModeConfig{RequestHeaderMode: v1alpha.HeaderProcess}
	c, err := chain.New(chain.Spec{ID: "known", API: "a", Operation: "GET /",
		Instances: []*chain.Instance{chain.NewInstance("i", "p:v1.0.0", passes{}, chain.Settings{Mode: mode})}})
	if err != nil {
		t.Fatal(err)
	}
	table := &chain.Table{}
	table.Put(c)
	_ = exchange.NewServer(table, nil, counters, watches).Serve(t.Context(), f)
	return notes
}

func expectNotes(t *testing.T, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("expected:\n  %s\ngot:\n  %s", strings.Join(want, "\n  "), strings.Join(got, "\n  "))
	}
}

func TestAnExchangeMayHaveSeveralWatchers(t *testing.T) {
	f := &front{opening: exchange.Opening{RequestID: "id-1", ChainID: "known"}}
	expectNotes(t, watched(t, f, "two", "blind", "one"),
		"one asked of known GET, chain true", "two asked of known GET, chain true",
		"one p:v1.0.0 began", "two p:v1.0.0 began", "one p:v1.0.0 ended", "two p:v1.0.0 ended",
		"one request head 0 ", "two request head 0 ", "one ended 0 <nil>", "two ended 0 <nil>")
	expectNotes(t, watched(t, f, "blind"))
}

// TestAResponseThatNoPolicySeesIsShownToWatchers, to all of them if one needs it.
func TestAResponseThatNoPolicySeesIsShownToWatchers(t *testing.T) {
	f := &front{opening: exchange.Opening{RequestID: "id-1", ChainID: "known"}}
	expectNotes(t, watched(t, f, "wants", "one"),
		"one asked of known GET, chain true", "wants asked of known GET, chain true",
		"one p:v1.0.0 began", "wants p:v1.0.0 began", "one p:v1.0.0 ended", "wants p:v1.0.0 ended",
		"one request head 0 ", "wants request head 0 ", "one response head 502 ", "wants response head 502 ",
		"one response head 502 ", "wants response head 502 ", "one ended 0 <nil>", "wants ended 0 <nil>")
	f = &front{opening: exchange.Opening{RequestID: "id-1", ChainID: "other"}}
	if watched(t, f, "wants"); f.show != nil {
		t.Error("expected not to be asked for a response where there is no chain")
	}
	f = &front{opening: exchange.Opening{RequestID: "id-1", ChainID: "known"}}
	if watched(t, f, "one"); f.show != nil {
		t.Error("expected no request for a response that no watcher needs")
	}
}

func TestExchangesWithoutAChainAreWatched(t *testing.T) {
	f := &front{opening: exchange.Opening{RequestID: "id-1", ChainID: "other"}}
	expectNotes(t, watched(t, f, "one"), "one asked of other GET, chain false", "one response head 503 unknown_chain", "one ended 0 <nil>")
	f = &front{opening: exchange.Opening{Refusal: 403}}
	expectNotes(t, watched(t, f, "one"), "one asked of  , chain false", "one response head 403 proxy_refused", "one ended 0 <nil>")
}

func TestAWatcherSeesAFailedExchange(t *testing.T) {
	opening := exchange.Opening{RequestID: "id-1", ChainID: "known"}
	f := &front{opening: opening, failures: map[string]error{"check PROCESS": errors.New("oh")}}
	expectNotes(t, watched(t, f, "one"), "one asked of known GET, chain true", "one ended 2 oh")
	f = &front{opening: opening, failures: map[string]error{"headers": exchange.ErrProxyCancelled}}
	expectNotes(t, watched(t, f, "one"), "one asked of known GET, chain true", "one p:v1.0.0 began", "one p:v1.0.0 ended",
		"one ended 1 the proxy has cancelled the exchange")
	f = &front{opening: opening, panics: "headers"}
	if got := watched(t, f, "one"); !strings.HasPrefix(got[len(got)-1], "one ended 2 panic: oh") {
		t.Errorf("expected an error with the panic, got %q", got)
	}
}

func TestWatchesComeAndGo(t *testing.T) {
	watches, asked := &exchange.Watches{}, 0
	table, f := &chain.Table{}, &front{opening: exchange.Opening{RequestID: "id-1", ChainID: "other"}}
	server := exchange.NewServer(table, nil, quietCounters(), watches)
	serve := func(want int) {
		t.Helper()
		if err := server.Serve(t.Context(), f); err != nil || asked != want {
			t.Errorf("expected to be asked %d times, got %d, %v", want, asked, err)
		}
	}
	serve(0)
	watches.Set("one", func(context.Context, exchange.Opening, chain.Head, *chain.Chain) exchange.Watcher {
		asked++
		return nil
	})
	serve(1)
	watches.Set("one", nil)
	serve(1)
}
