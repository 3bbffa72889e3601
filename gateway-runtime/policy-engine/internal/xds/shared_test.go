package xds_test

import (
	"fmt"
	"strings"
	"testing"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"

	"gatewright.dev/policy-engine/gen/envoynames"
	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/policy-engine/internal/xds"
	"gatewright.dev/policy-engine/internal/xds/envoytest"
)

const tableID = "abcdef0123456789abcdef0123456789"

// sharing is an API whose one operation, GET /, and all others that it could have share a route.
func sharing(t fails, context string) *nodev1.ApiBundle {
	t.Helper()
	match := fmt.Sprintf(`{"pathSeparatedPrefix":%q}`, context)
	if context == "/" {
		match = `{"prefix":"/"}`
	}
	return &nodev1.ApiBundle{
		Api: "a", Digest: "1", Context: context, Chains: []*nodev1.Chain{{Id: aChain, Attachments: wants("R")}},
		Routes: [][]byte{route(t, fmt.Sprintf(`{"name":"a||%s","match":%s,"route":{"cluster":"c"},"typedPerFilterConfig":{%q:%s}}`,
			tableID, match, extProc, sends("SEND NONE SKIP SKIP NONE SKIP", "")))},
		Operations: &nodev1.OperationTable{
			Id:    tableID,
			Paths: []*nodev1.PathMatch{{Match: &nodev1.PathMatch_Regex{Regex: envoynames.EscapedSlashPathPattern}}, {Match: &nodev1.PathMatch_Exact{Exact: context}}, {}},
			Rows: []*nodev1.OperationRow{
				{Path: 0, Operation: "307", Answer: &nodev1.OwnAnswer{Status: 307, UnescapeSlashes: true}},
				{Path: 1, Operation: "GET /", Methods: []string{"GET"}, Chain: aChain},
				{Path: 2, Operation: "404", Answer: &nodev1.OwnAnswer{Status: 404}},
			},
		},
	}
}

func TestOperationsOfASharedRouteAreKnown(t *testing.T) {
	if got := bundle(t, sharing(t, "/a")).Operations; len(got) != 1 || got[0] != "GET /" {
		t.Errorf("expected GET /, got %q", got)
	}
}

func TestASharedRouteThatPassesPoliciesByIsRefused(t *testing.T) {
	change := func(message *nodev1.ApiBundle, do func(*routev3.Route)) {
		changed := &routev3.Route{}
		if err := proto.Unmarshal(message.GetRoutes()[0], changed); err != nil {
			t.Fatal(err)
		}
		do(changed)
		message.Routes[0], _ = proto.Marshal(changed)
	}
	for want, spoil := range map[string]func(*nodev1.ApiBundle){
		"expected one route":                   func(m *nodev1.ApiBundle) { m.FirstRoute = m.GetRoutes()[0] },
		`name: expected "a||other"`:            func(m *nodev1.ApiBundle) { m.Operations.Id = "other" },
		"match: expected":                      func(m *nodev1.ApiBundle) { m.Context = "/b" },
		"operations: id: expected one":         func(m *nodev1.ApiBundle) { m.Operations.Id = "" },
		"operations: rows[0]: expected":        func(m *nodev1.ApiBundle) { m.StrictPaths = true },
		"operations: expected ids of the":      func(m *nodev1.ApiBundle) { m.Chains[0].Id = "other" },
		"processing_mode.response_header_mode": func(m *nodev1.ApiBundle) { m.Chains[0].Attachments = wants("Rr") },
		"since the engine finds the operation": func(m *nodev1.ApiBundle) {
			change(m, func(r *routev3.Route) { delete(r.TypedPerFilterConfig, extProc) })
		},
		"action: expected route": func(m *nodev1.ApiBundle) {
			change(m, func(r *routev3.Route) {
				r.Action = &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: 200}}
			})
		},
		"failure_mode_allow: expected false": func(m *nodev1.ApiBundle) {
			m.Chains[0].Attachments[0].OnError = nodev1.OnError_ON_ERROR_CONTINUE
			m.Routes[0] = route(t, fmt.Sprintf(`{"name":"a||%s","match":{"pathSeparatedPrefix":"/a"},"route":{"cluster":"c"},"typedPerFilterConfig":{%q:%s}}`,
				tableID, extProc, sends("SEND NONE SKIP SKIP NONE SKIP", `,"failureModeAllow":true`)))
		},
	} {
		message := sharing(t, "/a")
		spoil(message)
		if _, err := xds.ParseBundle(message, xds.ExtProc); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("expected an error with %q, got %v", want, err)
		}
	}
}

// TestASharedRouteTakesThePathsInItsContext, with a shorter context beside it and without. No engine answers, so that Envoy
// refuses what comes to the route with 503.
func TestASharedRouteTakesThePathsInItsContext(t *testing.T) {
	server, directory := startServer(t)
	_ = server.SetRoutes(t.Context(), compose(t, answering(t, "else", "/else")))
	envoy := envoytest.Start(t, directory)
	waitConnected(t, server)
	orders := bundle(t, sharing(t, "/orders"))
	for _, c := range []struct {
		bundles  []*xds.Bundle
		expected map[string]string
	}{
		{[]*xds.Bundle{orders, answering(t, "else", "/else")}, map[string]string{
			"/orders": "503", "/orders?x": "503", "/orders/": "503", "/orders/1?x": "503", "/ordersX": "404", "/ordersX/1": "404", "/": "404", "/else": "else",
		}},
		{[]*xds.Bundle{orders, answering(t, "root", "/"), answering(t, "else", "/else")}, map[string]string{
			"/orders": "503", "/orders?x": "503", "/orders/1": "503", "/ordersX": "root", "/order": "root", "/else": "else", "/elseX": "root",
		}},
		{[]*xds.Bundle{orders, answering(t, "ord", "/ord"), answering(t, "nested", "/orders/v1")}, map[string]string{
			"/orders": "503", "/orders/v2": "503", "/orders/v1X": "503", "/orders/v1/2": "nested", "/ord/1": "ord", "/ordersX": "404",
		}},
		{[]*xds.Bundle{bundle(t, sharing(t, "/")), answering(t, "else", "/else")}, map[string]string{"/": "503", "/a": "503", "/elseX": "503", "/else/1": "else"}},
	} {
		set(t, server, compose(t, c.bundles...))
		for path, want := range c.expected {
			await.Until(t, fmt.Sprintf("%s is answered %s", path, want), func() bool {
				status, body := envoy.Get("h", path)
				return body == want || fmt.Sprint(status) == want
			})
		}
	}
}

func set(t *testing.T, server *xds.Server, config xds.Resource) {
	t.Helper()
	if err := server.SetRoutes(within(t, await.Limit), config); err != nil {
		t.Fatal(err)
	}
}
