package exchange_test

import (
	"fmt"
	"log/slog"
	"testing"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/exchange"
)

// TestIdentitiesAreCountedByTheirMethods, whose number is bounded for each API, and which go with the API.
func TestIdentitiesAreCountedByTheirMethods(t *testing.T) {
	counters := exchange.NewCounters(slog.New(slog.DiscardHandler))
	observer := counters.Exchanges(chain.Labels{API: "orders", Operation: "GET /"})
	other := counters.Exchanges(chain.Labels{API: "stays", Operation: "GET /"})
	for n := range 100 {
		observer.Identified(fmt.Sprint("method-", n%50))
	}
	observer.Identified("")
	other.Identified("jwt")
	sums, methods := map[string]uint64{}, 0
	for _, count := range counters.Identities() {
		sums[count.API] += count.Exchanges
		methods++
		if count.Value == exchange.OtherValue && count.Exchanges != 101-16*2 {
			t.Errorf("expected the others together, got %+v", count)
		}
	}
	if sums["orders"] != 101 || sums["stays"] != 1 || methods != 16+1+1 {
		t.Errorf("expected all exchanges in 18 series, got %v in %d", sums, methods)
	}
	counters.APIRemoved("orders")
	observer.Identified("jwt") // of its last exchange
	observer.Planned("gold")
	observer.Close()
	if left := counters.Identities(); len(left) != 1 || left[0].API != "stays" {
		t.Errorf("expected nothing of the API that has gone, got %+v", left)
	}
	if left := counters.Plans(); len(left) != 0 {
		t.Errorf("expected no plan of the API that has gone, got %+v", left)
	}
}

// TestPlansAreCounted by API, up to a number of plans.
func TestPlansAreCounted(t *testing.T) {
	counters := exchange.NewCounters(slog.New(slog.DiscardHandler))
	observer := counters.Exchanges(chain.Labels{API: "orders", Operation: "GET /"})
	for n := range 100 {
		observer.Planned(fmt.Sprint("plan-", n))
		observer.Planned("plan-0")
	}
	plans, sum := map[string]uint64{}, uint64(0)
	for _, count := range counters.Plans() {
		plans[count.Value] = count.Exchanges
		sum += count.Exchanges
	}
	if plans["plan-0"] != 101 || plans[exchange.OtherValue] != 100-64 || len(plans) != 65 || sum != 200 {
		t.Errorf("expected 200 exchanges of 64 plans and others, got %v in %v", sum, plans)
	}
}
