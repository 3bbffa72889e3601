package operations_test

import (
	"fmt"
	"strings"
	"testing"

	"gatewright.dev/policy-engine/gen/envoynames"
	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/operations"
	"gatewright.dev/sdk/policy/v1alpha"
)

func regexOf(pattern string) *nodev1.PathMatch {
	return &nodev1.PathMatch{Match: &nodev1.PathMatch_Regex{Regex: pattern}}
}

// orders is the table of an API with the context /orders/v1: what the controller makes of GET and POST /items, and GET, PUT
// and DELETE /items/{id}.
func orders() *nodev1.OperationTable {
	items := &nodev1.PathMatch{Match: &nodev1.PathMatch_Exact{Exact: "/orders/v1/items"}}
	refused := func(path, status uint32, allow string) *nodev1.OperationRow {
		return &nodev1.OperationRow{Path: path, Operation: fmt.Sprint(status), Answer: &nodev1.OwnAnswer{Status: status, Allow: allow, Details: "direct_response"}}
	}
	operation := func(path uint32, name string, methods ...string) *nodev1.OperationRow {
		return &nodev1.OperationRow{Path: path, Methods: methods, Operation: name, Chain: "chain of " + name}
	}
	preflight := func(path uint32, name string) *nodev1.OperationRow {
		row := operation(path, name, "OPTIONS")
		row.Answer = &nodev1.OwnAnswer{Status: 204, Allow: "OPTIONS", Details: "direct_response"}
		return row
	}
	return &nodev1.OperationTable{
		Id:    "table",
		Paths: []*nodev1.PathMatch{regexOf(envoynames.EscapedSlashPathPattern), items, regexOf(`^/orders/v1/items/[^/]+`), {}},
		Rows: []*nodev1.OperationRow{
			{Operation: "307", Answer: &nodev1.OwnAnswer{Status: 307, UnescapeSlashes: true, Details: "direct_response"}},
			operation(1, "GET /items", "GET", "HEAD"), operation(1, "POST /items", "POST"),
			operation(2, "DELETE /items/{id}", "DELETE"), operation(2, "GET /items/{id}", "GET", "HEAD"), operation(2, "PUT /items/{id}", "PUT"),
			preflight(1, "OPTIONS /items"), preflight(2, "OPTIONS /items/{id}"),
			refused(1, 405, "GET, HEAD, OPTIONS, POST"), refused(2, 405, "DELETE, GET, HEAD, OPTIONS, PUT"),
			{Path: 3, Operation: "404", Answer: &nodev1.OwnAnswer{Status: 404, Detail: "There is no such route.", Details: "route_not_found"}},
		},
	}
}

func newTable(t testing.TB, message *nodev1.OperationTable) *operations.Table {
	t.Helper()
	table, err := operations.NewTable("orders", message, false)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestTheFirstRowThatMatchesCounts(t *testing.T) {
	table := newTable(t, orders())
	for request, route := range map[string]string{
		"GET /orders/v1/items":            "orders|GET /items|chain of GET /items",
		"HEAD /orders/v1/items?a=/b":      "orders|GET /items|chain of GET /items",
		"POST /orders/v1/items":           "orders|POST /items|chain of POST /items",
		"PUT /orders/v1/items/7":          "orders|PUT /items/{id}|chain of PUT /items/{id}",
		"GET /orders/v1/items/a.b%20c?":   "orders|GET /items/{id}|chain of GET /items/{id}",
		"OPTIONS /orders/v1/items/7":      "orders|OPTIONS /items/{id}|chain of OPTIONS /items/{id}",
		"PATCH /orders/v1/items/7":        "orders|405|",
		"get /orders/v1/items/7":          "orders|405|",
		"PUT /orders/v1/items":            "orders|405|",
		"GET /orders/v1/items/":           "orders|404|",
		"GET /orders/v1/items/7/":         "orders|404|",
		"GET /orders/v1":                  "orders|404|",
		"GET /orders/v1/items/7%2f8":      "orders|307|",
		"PATCH /orders/v1/a%5Cb":          "orders|307|",
		"GET /orders/v1/items?path=a%2Fb": "orders|GET /items|chain of GET /items",
	} {
		method, path, _ := strings.Cut(request, " ")
		if row := table.Find(&operations.Request{Method: method, Path: path}); row.Route != route {
			t.Errorf("%s: expected %q, got %q", request, route, row.Route)
		}
	}
}

func TestLocationHasSlashesInThePlaceOfEscapedOnes(t *testing.T) {
	request := &operations.Request{Method: "GET", Path: "/a%2Fb%5cc?d=%2f", Scheme: "https", Authority: "a.example:81"}
	row := newTable(t, orders()).Find(request)
	if got := row.Answer.Location(request); got != "https://a.example:81/a/b/c?d=%2f" {
		t.Errorf("expected the URL with slashes in its path, got %s", got)
	}
}

func TestATableThatCannotBeUsedIsRefusedWithEveryMistake(t *testing.T) {
	for want, spoil := range map[string]func(*nodev1.OperationTable){
		"id: expected one":          func(m *nodev1.OperationTable) { m.Id = "" },
		"paths[2]: regex: expected": func(m *nodev1.OperationTable) { m.Paths[2] = regexOf("(") },
		`rows[1] "GET /items": path: expected an index below 4, got 9`: func(m *nodev1.OperationTable) { m.Rows[1].Path = 9 },
		`rows[1] "GET /items": chain: expected one`:                    func(m *nodev1.OperationTable) { m.Rows[1].Chain = "" },
		`rows[1] "GET /items": headers[0] "x-a": match: expected one`: func(m *nodev1.OperationTable) {
			m.Rows[1].Headers = []*nodev1.ValueMatch{{Name: "x-a"}}
		},
		"rows[0]: expected an answer to all requests whose path": func(m *nodev1.OperationTable) { m.Rows = m.Rows[1:] },
		"rows[9]: expected an answer to every request":           func(m *nodev1.OperationTable) { m.Rows = m.Rows[:10] },
		"rows: expected some":                                    func(m *nodev1.OperationTable) { m.Rows = nil },
	} {
		message := orders()
		spoil(message)
		if _, err := operations.NewTable("orders", message, false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("expected an error with %q, got %v", want, err)
		}
	}
	if _, err := operations.NewTable("orders", orders(), true); err == nil {
		t.Error("expected an error: with strict paths the first row refuses more paths")
	}
}

// TestPaths compares what the segments of a pattern say with what its regular expression says.
func TestPaths(t *testing.T) {
	for pattern, paths := range map[string]map[string]bool{
		`^/a\.b/[^/]+/c`:               {"/a.b/7/c": true, "/aXb/7/c": false, "/a.b//c": false, "/a.b/7/8/c": false, "/a.b/7/c/": false, "/a.b/7": false},
		`^/a/[^/]+(?:/.*)?`:            {"/a/7": true, "/a/7/": true, "/a/7/8/9": true, "/a/": false, "/a": false, "/a7": false},
		`^/a/?`:                        {"/a": true, "/a/": true, "/a/b": false, "/ab": false},
		`^/[^/]+/[^/]+/`:               {"/a/b/": true, "/a/b": false, "/a/b/c": false},
		`^/a(?:b|%62)c/[^/]+`:          {"/abc/7": true, "/a%62c/7": true, "/ac/7": false},
		`^/a[^/]+b`:                    {"/axb": true, "/axbb": true, "/axc": false},
		`^/(?i)a/[^/]+`:                {"/A/7": true, "/a/7": true, "/b/7": false},
		`/v1/[^/]+?`:                   {"/v1/7": true, "/v1/": false},
		envoynames.DoubtfulPathPattern: {"/a;b": true, "/a%2Fb": true, "/a%252f": true, "/a%2": true, "/a%20b": false, "/a": false},
	} {
		message := orders()
		message.Paths[1] = regexOf(pattern)
		table := newTable(t, message)
		for path, matches := range paths {
			row := table.Find(&operations.Request{Method: "GET", Path: path})
			if row.Route == "orders|307|" {
				continue
			}
			if got := strings.HasPrefix(row.Route, "orders|GET /items|"); got != matches {
				t.Errorf("%s of %s: expected %t, got %t", path, pattern, matches, got)
			}
		}
	}
}

func TestValues(t *testing.T) {
	value := func(name string) *nodev1.ValueMatch { return &nodev1.ValueMatch{Name: name} }
	with := func(m *nodev1.ValueMatch, set func(*nodev1.ValueMatch)) *nodev1.ValueMatch { set(m); return m }
	present := func(is bool) *nodev1.ValueMatch {
		return with(value("x-a"), func(m *nodev1.ValueMatch) { m.Match = &nodev1.ValueMatch_Present{Present: is} })
	}
	exact := with(value("x-a"), func(m *nodev1.ValueMatch) { m.Match = &nodev1.ValueMatch_Exact{Exact: "B,c"} })
	folded := with(value("x-a"), func(m *nodev1.ValueMatch) {
		m.Match, m.IgnoreCase = &nodev1.ValueMatch_Contains{Contains: "Kb"}, true
	})
	prefix := with(value("x-a"), func(m *nodev1.ValueMatch) { m.Match = &nodev1.ValueMatch_Prefix{Prefix: "b"} })
	suffix := with(value("x-a"), func(m *nodev1.ValueMatch) { m.Match = &nodev1.ValueMatch_Suffix{Suffix: "b"} })
	regex := with(value("x-a"), func(m *nodev1.ValueMatch) { m.Match = &nodev1.ValueMatch_Regex{Regex: "a|b.*"} })
	for _, c := range []struct {
		match   *nodev1.ValueMatch
		lines   []string
		matches bool
	}{
		{present(true), nil, false}, {present(true), []string{""}, true}, {present(false), nil, true}, {present(false), []string{"a"}, false},
		{exact, []string{"B", "c"}, false}, {exact, []string{"B", "B,c"}, true}, {exact, []string{"B,c"}, true}, {exact, []string{"b,c"}, false}, {exact, nil, false},
		{folded, []string{"akBc"}, true}, {folded, []string{"a\u212abc"}, false},
		{prefix, []string{"bc"}, true}, {prefix, []string{"a", "b"}, true}, {prefix, []string{"a", "c"}, false}, {present(false), []string{"a", "b"}, false}, {suffix, []string{"a", "b"}, true}, {suffix, []string{"bc"}, false},
		{regex, []string{"a"}, true}, {regex, []string{"bcd"}, true}, {regex, []string{"ab"}, false}, {regex, []string{"b\xff"}, false},
	} {
		message := orders()
		message.Rows[1].Headers = []*nodev1.ValueMatch{c.match}
		request := &operations.Request{Method: "GET", Path: "/orders/v1/items"}
		for _, line := range c.lines {
			request.Headers = append(request.Headers, v1alpha.Header{Name: "x-b", Value: "z"}, v1alpha.Header{Name: "x-a", Value: line})
		}
		row := newTable(t, message).Find(request)
		if got := strings.HasPrefix(row.Route, "orders|GET /items|"); got != c.matches {
			t.Errorf("%v of %q: expected %t, got %t", c.match, c.lines, c.matches, got)
		}
	}
}

func TestTheFirstParameterCountsAsItWasSent(t *testing.T) {
	message := orders()
	message.Rows[1].Query = []*nodev1.ValueMatch{{Name: "a", Match: &nodev1.ValueMatch_Exact{Exact: "1"}}}
	table := newTable(t, message)
	for query, matches := range map[string]bool{
		"": false, "?a=1": true, "?b=2&a=1&a=3": true, "?a=3&a=1": false, "?A=1": false, "?a=%31": false, "?&&a=1": true, "?ba=1": false, "?a": false,
	} {
		row := table.Find(&operations.Request{Method: "GET", Path: "/orders/v1/items" + query})
		if got := strings.HasPrefix(row.Route, "orders|GET /items|"); got != matches {
			t.Errorf("%q: expected %t, got %t", query, matches, got)
		}
	}
}

func TestOtherMethods(t *testing.T) {
	message := orders()
	message.Rows[1].Methods, message.Rows[1].OtherMethods = []string{"mIxed"}, true
	table := newTable(t, message)
	for method, matches := range map[string]bool{"GET": true, "M-SEARCH": true, "mIxed": true, "Mixed": false, "TRACE": false, "get": false} {
		row := table.Find(&operations.Request{Method: method, Path: "/orders/v1/items"})
		if got := strings.HasPrefix(row.Route, "orders|GET /items|"); got != matches {
			t.Errorf("%s: expected %t, got %t", method, matches, got)
		}
	}
}

// TestTheUsualRequestAllocatesNothing holds for literals and parameters.
func TestTheUsualRequestAllocatesNothing(t *testing.T) {
	table := newTable(t, orders())
	request := &operations.Request{Method: "DELETE", Path: "/orders/v1/items/7?a=b"}
	if count := testing.AllocsPerRun(100, func() { table.Find(request) }); count > 0 {
		t.Errorf("expected no allocation, got %v", count)
	}
}

func BenchmarkFind(b *testing.B) {
	table := newTable(b, orders())
	for _, path := range []string{"/orders/v1/items", "/orders/v1/items/7?page=2", "/orders/v1/none"} {
		request := &operations.Request{Method: "PUT", Path: path}
		b.Run(path, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				table.Find(request)
			}
		})
	}
}
