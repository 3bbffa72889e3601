package recording_test

import (
	"testing"

	"gatewright.dev/policy-engine/gen/envoynames"
	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/operations"
	"gatewright.dev/policy-engine/internal/recording"
)

// TestAnAnswerOfASharedRouteIsRecordedAsEnvoysWouldBe: the gateway has answered, since the operation has an answer of its own.
func TestAnAnswerOfASharedRouteIsRecordedAsEnvoysWouldBe(t *testing.T) {
	table, err := operations.NewTable("orders", &nodev1.OperationTable{
		Id:    "t1",
		Paths: []*nodev1.PathMatch{{Match: &nodev1.PathMatch_Regex{Regex: envoynames.EscapedSlashPathPattern}}, {}},
		Rows: []*nodev1.OperationRow{
			{Path: 0, Operation: "307", Answer: &nodev1.OwnAnswer{Status: 307, UnescapeSlashes: true, Details: "direct_response"}},
			{Path: 1, Operation: "OPTIONS /{id}", Methods: []string{"OPTIONS"}, Chain: "c1", Answer: &nodev1.OwnAnswer{Status: 204, Allow: "GET", Details: "direct_response"}},
			{Path: 1, Operation: "404", Answer: &nodev1.OwnAnswer{Status: 404, Details: "route_not_found"}},
		},
	}, false)
	if err != nil {
		t.Fatal(err)
	}
	g := newGateway(t, enough, sets("marks", "x-mark", "1"))
	g.tables.Acquire(table)
	f := get("/orders/7")
	f.opening.Route, f.opening.ChainID, f.request.Method = "orders||t1", "t1", "OPTIONS"
	e := g.record(t, f)
	if e.AnsweredBy != recording.ByProxy || e.Details != "direct_response" || e.Cause == nil || e.Cause.Code != "configured" {
		t.Errorf("expected an answer that is configured, got %s, %q, %+v", e.AnsweredBy, e.Details, e.Cause)
	}
	if e.Response == nil || e.Response.Status != 204 || e.Chain != "c1" || e.API != "orders" {
		t.Errorf("expected 204 of the chain c1 of orders, got %+v of %s", e.Response, e.Chain)
	}
}
