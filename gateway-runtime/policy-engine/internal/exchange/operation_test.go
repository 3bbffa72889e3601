package exchange_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"gatewright.dev/policy-engine/gen/envoynames"
	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/exchange"
	"gatewright.dev/policy-engine/internal/operations"
	"gatewright.dev/sdk/policy/v1alpha"
)

// tableOfItems leads GET /items to the chain "known"; its OPTIONS is answered 204 behind that chain.
func tableOfItems(t *testing.T) *operations.Tables {
	t.Helper()
	own := func(status uint32, details string) *nodev1.OwnAnswer {
		return &nodev1.OwnAnswer{Status: status, Details: details, Allow: "GET"}
	}
	regex := &nodev1.PathMatch_Regex{Regex: envoynames.EscapedSlashPathPattern}
	table, err := operations.NewTable("a", &nodev1.OperationTable{
		Id:    "table",
		Paths: []*nodev1.PathMatch{{Match: regex}, {Match: &nodev1.PathMatch_Exact{Exact: "/items"}}, {}},
		Rows: []*nodev1.OperationRow{
			{Path: 0, Operation: "307", Answer: &nodev1.OwnAnswer{Status: 307, UnescapeSlashes: true, Details: "direct_response"}},
			{Path: 1, Operation: "GET /items", Methods: []string{"GET"}, Chain: "known"},
			{Path: 1, Operation: "OPTIONS /items", Methods: []string{"OPTIONS"}, Chain: "known", Answer: own(204, "direct_response")},
			{Path: 1, Operation: "405", Answer: own(405, "direct_response")},
			{Path: 2, Operation: "404", Answer: own(404, "route_not_found")},
		},
	}, false)
	if err != nil {
		t.Fatal(err)
	}
	tables := &operations.Tables{}
	tables.Acquire(table)
	return tables
}

func TestAnExchangeOnASharedRoutePassesTheChainOfItsOperation(t *testing.T) {
	upgrade := v1alpha.Headers{{Name: "upgrade", Value: "websocket"}}
	for want, head := range map[string]chain.Head{
		"open, route a|GET /items|known, check PROCESS, headers, finish":                        {Method: "GET", Path: "/items?x"},
		"open, route a|OPTIONS /items|known, check PROCESS, answer 204 direct_response, finish": {Method: "OPTIONS", Path: "/items"},
		"open, route a|405|, answer 405 direct_response":                                        {Method: "PUT", Path: "/items"},
		"open, route a|404|, answer 404 route_not_found":                                        {Method: "GET", Path: "/item"},
		"open, route a|307|, answer 307 direct_response":                                        {Method: "GET", Path: "/items%2F"},
		"open, route a|GET /items|known, answer 403 proxy_refused":                              {Method: "GET", Path: "/items", Headers: upgrade},
	} {
		f := &front{opening: exchange.Opening{RequestID: "id-1", ChainID: "table", Route: "a||table"}, head: head}
		if log, err := serveShared(t, t.Context(), f); err != nil || log != "" || strings.Join(f.calls, ", ") != want {
			t.Errorf("%s %s: expected\n  %s\ngot\n  %s\n%s, %v", head.Method, head.Path, want, strings.Join(f.calls, ", "), log, err)
		}
	}
}

// TestAnUnknownTableIsAnswered as an unknown chain is.
func TestAnUnknownTableIsAnswered(t *testing.T) {
	f := &front{opening: exchange.Opening{RequestID: "id-1", ChainID: "other", Route: "a||other"}}
	if _, err := serveShared(t, t.Context(), f); err != nil || strings.Join(f.calls, ", ") != "open, answer 503 unknown_chain" {
		t.Errorf("got %q, %v", f.calls, err)
	}
}

func serveShared(t *testing.T, ctx context.Context, f *front) (string, error) {
	t.Helper()
	var log bytes.Buffer
	counters := exchange.NewCounters(slog.New(slog.NewTextHandler(&log, nil)))
	mode := v1alpha.ProcessingModeConfig{RequestHeaderMode: v1alpha.HeaderProcess}
	c, err := chain.New(chain.Spec{ID: "known", API: "a", Operation: "GET /items", Observer: counters,
		Instances: []*chain.Instance{chain.NewInstance("i", "p:v1.0.0", passes{}, chain.Settings{Mode: mode})}})
	if err != nil {
		t.Fatal(err)
	}
	table := &chain.Table{}
	table.Put(c)
	err = exchange.NewServer(table, tableOfItems(t), counters, nil).Serve(ctx, f)
	if c.Active() != 0 {
		t.Errorf("expected no exchange under way, got %d", c.Active())
	}
	return log.String(), err
}
