package xds_test

import (
	"testing"

	"gatewright.dev/policy-engine/internal/xds"
)

// TestNearAlternatives of a request that has matched no route.
func TestNearAlternatives(t *testing.T) {
	bundles := []*xds.Bundle{
		{API: "orders", Context: "/orders", Hosts: []string{"*"}, Operations: []string{"GET /{id}", "POST /"}},
		{API: "users", Context: "/users/v1", Hosts: []string{"*"}},
		{API: "items", Context: "/items", Hosts: []string{"*"}},
		{API: "carts", Context: "/carts", Hosts: []string{"*"}},
		{API: "inner", Context: "/inner", Hosts: []string{"inner.example"}},
	}
	for path, want := range map[string]xds.Near{
		"/oders/7":    {Reason: "no API has the path /oders/7", Cure: "request a path under the context of an API (/orders, /items, /carts and 1 more), or publish one"},
		"/Users/V1/7": {Reason: "no API has the path /Users/V1/7", Cure: "request a path under the context of an API (/users/v1, /items, /orders and 1 more), or publish one"},
		"/ordersX":    {Reason: "no API has the path /ordersX", Cure: "request a path under the context of an API (/orders, /items, /carts and 1 more), or publish one"},
		"/orders/7/x": {API: "orders", Reason: "no operation of the API orders (context /orders) has the path /orders/7/x", Cure: "ask for one of its operations (POST /, GET /{id}), or add one"},
		"/carts":      {API: "carts", Reason: "no operation of the API carts (context /carts) has the path /carts", Cure: "ask for one of its operations (there is none), or add one"},
	} {
		if got := xds.NearTo(bundles, xds.Front{}, "http", "a.example:8080", path); got != want {
			t.Errorf("%s: expected\n  %+v\ngot\n  %+v", path, want, got)
		}
	}
	want := xds.Near{Reason: `no API is published on the host "other.example"`, Cure: "ask for a host of an API (inner.example), or name this one in spec.hosts"}
	if got := xds.NearTo(bundles[4:], xds.Front{}, "http", "Other.example.:80", "/inner"); got != want {
		t.Errorf("expected %+v, got %+v", want, got)
	}
	if got := xds.NearTo(nil, xds.Front{}, "http", "a.example", "/"); got.Reason != "no API is published on this node" {
		t.Errorf("got %+v", got)
	}
}

// TestNearAlternativesAreServedByTheListener: APIs of other listeners are not named, however near they are.
func TestNearAlternativesAreServedByTheListener(t *testing.T) {
	bundles := []*xds.Bundle{
		{API: "orders", Context: "/orders", Hosts: []string{"*"}},
		{API: "inner", Context: "/inner", Hosts: []string{"*"}, Listeners: []string{"inside"}, Operations: []string{"GET /a"}},
		{API: "hidden", Context: "/hidden", Hosts: []string{"hidden.example"}, Listeners: []string{"inside"}},
	}
	front := xds.NewFront(false, []string{"inside", "empty"})
	const under, publish = "request a path under the context of an API (", "), or publish one"
	for _, c := range []struct {
		listener, host, path string
		want                 xds.Near
	}{
		{"public", "a.example", "/inner/a/b", xds.Near{Reason: "no API has the path /inner/a/b", Cure: under + "/orders" + publish}},
		{"public", "hidden.example", "/hiden", xds.Near{Reason: "no API has the path /hiden", Cure: under + "/orders" + publish}},
		{"", "a.example", "/iner", xds.Near{Reason: "no API has the path /iner", Cure: under + "/orders" + publish}},
		{"inside", "a.example", "/iner", xds.Near{Reason: "no API has the path /iner", Cure: under + "/inner" + publish}},
		{"inside", "a.example", "/inner/b", xds.Near{API: "inner", Reason: "no operation of the API inner (context /inner) has the path /inner/b",
			Cure: "ask for one of its operations (GET /a), or add one"}},
		{"empty", "a.example", "/inner/a", xds.Near{Reason: "the listener empty serves no API", Cure: "publish one that names it in spec.listeners: gatewright apply -f FILE"}},
	} {
		if got := xds.NearTo(bundles, front, c.listener, c.host, c.path); got != c.want {
			t.Errorf("%s, %s%s: expected\n  %+v\ngot\n  %+v", c.listener, c.host, c.path, c.want, got)
		}
	}
}
