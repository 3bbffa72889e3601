package exchange_test

import (
	"strings"
	"testing"

	"gatewright.dev/policy-engine/gen/envoynames"
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

func TestRoutesOfTheControllersNames(t *testing.T) {
	name := strings.Join([]string{"orders", "GET /{id}", "c1"}, envoynames.RouteNameSeparator)
	if api, operation, chainID := exchange.RouteParts(name); api != "orders" || operation != "GET /{id}" || chainID != "c1" {
		t.Errorf("%q: expected its three parts, got %q, %q and %q", name, api, operation, chainID)
	}
}
