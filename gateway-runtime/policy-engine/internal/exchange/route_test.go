package exchange_test

import (
	"testing"

	"gatewright.dev/policy-engine/internal/exchange"
)

func TestRouteParts(t *testing.T) {
	for name, want := range map[string][3]string{
		"orders|GET /{id}|c1": {"orders", "GET /{id}", "c1"}, "orders|GET /a|b|": {"orders", "GET /a|b", ""}, "|challenges|": {}, "": {}, "a|b": {},
	} {
		api, operation, chainID := exchange.RouteParts(name)
		if got := [3]string{api, operation, chainID}; got != want {
			t.Errorf("%q: expected %q, got %q", name, want, got)
		}
	}
}
