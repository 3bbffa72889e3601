package exchange_test

import (
	"bytes"
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

// serveAttached runs front through an attached server to whose chain "known" the name "shop" leads for GET /items; GET /open has
// no policy.
func serveAttached(t *testing.T, f *front) (string, *exchange.Counters) {
	t.Helper()
	refused := &nodev1.OwnAnswer{Status: 404, Details: "route_not_found"}
	regex := &nodev1.PathMatch_Regex{Regex: envoynames.EscapedSlashPathPattern}
	table, err := operations.NewAttachedTable("a", &nodev1.OperationTable{
		Id:    "table",
		Paths: []*nodev1.PathMatch{{Match: regex}, {Match: &nodev1.PathMatch_Exact{Exact: "/items"}}, {Match: &nodev1.PathMatch_Exact{Exact: "/open"}}, {}},
		Rows: []*nodev1.OperationRow{
			{Path: 0, Operation: "307", Answer: &nodev1.OwnAnswer{Status: 307, UnescapeSlashes: true, Details: "direct_response"}},
			{Path: 1, Operation: "GET /items", Methods: []string{"GET"}, Chain: "known"},
			{Path: 2, Operation: "GET /open", Methods: []string{"GET"}},
			{Path: 3, Operation: "404", Answer: refused},
		},
	}, false)
	if err != nil {
		t.Fatal(err)
	}
	attachments := &operations.Attachments{}
	if err := attachments.Acquire("a", "digest", []string{"shop"}, table); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	counters := exchange.NewCounters(slog.New(slog.NewTextHandler(&log, nil)))
	mode := v1alpha.ProcessingModeConfig{RequestHeaderMode: v1alpha.HeaderProcess}
	c, err := chain.New(chain.Spec{ID: "known", API: "a", Operation: "GET /items", Observer: counters,
		Instances: []*chain.Instance{chain.NewInstance("i", "p:v1.0.0", passes{}, chain.Settings{Mode: mode})}})
	if err != nil {
		t.Fatal(err)
	}
	chains := &chain.Table{}
	chains.Put(c)
	if err := exchange.NewAttachedServer(chains, attachments, counters, nil).Serve(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	return log.String(), counters
}

// TestOnlyTheNameOfItsRouteLeadsAnotherEnvoysExchangeToAChain, never the id of a chain in it.
func TestOnlyTheNameOfItsRouteLeadsAnotherEnvoysExchangeToAChain(t *testing.T) {
	for _, test := range []struct {
		route, path, want string
		opening           exchange.Opening
	}{
		{route: "shop", path: "/items?x=//", want: "open, route a|GET /items|known, check PROCESS, headers, finish"},
		{route: "shop", path: "/open", want: "open, route a|GET /open|, headers, finish"},
		{route: "shop", path: "/other", want: "open, route a|404|, answer 404 route_not_found"},
		{route: "shop", path: "//items", want: "open, answer 400 path_not_normalized"},
		{route: "a|GET /items|known", path: "/items", want: "open, answer 503 unknown_attachment", opening: exchange.Opening{ChainID: "known"}},
		{route: "a||table", path: "/items", want: "open, answer 503 unknown_attachment", opening: exchange.Opening{ChainID: "table"}},
		{route: "", path: "/items", want: "open, answer 503 unknown_attachment", opening: exchange.Opening{ChainID: "known"}},
		{route: "shop", path: "/items", want: "open, answer 503 outdated_proxy", opening: exchange.Opening{Outdated: "expected 2, got 1"}},
		{route: "", path: "/items", want: "open, pass", opening: exchange.Opening{Refusal: 403}},
	} {
		test.opening.Route = test.route
		f := &front{opening: test.opening, head: chain.Head{Method: "GET", Path: test.path}}
		if _, counters := serveAttached(t, f); strings.Join(f.calls, ", ") != test.want || counters.Stats().UnknownChain != 0 {
			t.Errorf("%q %s: expected\n  %s\ngot\n  %s", test.route, test.path, test.want, strings.Join(f.calls, ", "))
		}
	}
}

// TestPathsThatUpstreamsMayReadOtherwiseAreRefused, which the node's own Envoy has normalized before.
func TestPathsThatUpstreamsMayReadOtherwiseAreRefused(t *testing.T) {
	for path, refused := range map[string]bool{
		"/items": false, "/": false, "/a.b/..c/...": false, "/%C3%A9%2Fx%3a": false, "/items?a=..//%41": false, "/100%": false, "/%2": false, "*": false,
		"//items": true, "/items//": true, "/items/..": true, "/./items": true, "/a/../b?x": true, `/a\b`: true,
		"/%2e%2E/x": true, "/%41": true, "/%7e": true, "/%5f": true, "/a#b": true,
	} {
		f := &front{opening: exchange.Opening{Route: "shop"}, head: chain.Head{Method: "GET", Path: path}}
		log, _ := serveAttached(t, f)
		if got := f.calls[1] == "answer 400 path_not_normalized"; got != refused || refused != strings.Contains(log, "cure=\"set normalize_path") {
			t.Errorf("%s: expected refused = %t, got %v, %s", path, refused, f.calls, log)
		}
	}
}

// TestARefusalSaysTheNameAndTheCure.
func TestARefusalSaysTheNameAndTheCure(t *testing.T) {
	for name, want := range map[string][]string{
		"other": {"name=other", "no API is attached to this name", "spec.attachTo"},
		"":      {"Envoy has sent no route name", "xds.route_name"},
	} {
		log, _ := serveAttached(t, &front{opening: exchange.Opening{Route: name}})
		for _, text := range want {
			if !strings.Contains(log, text) {
				t.Errorf("%q: expected %q in %s", name, text, log)
			}
		}
	}
}
