package xds_test

import (
	"bytes"
	"testing"
	"time"

	"gatewright.dev/policy-engine/internal/xds"
	"gatewright.dev/policy-engine/internal/xds/envoytest"
)

// TestAListenerServesItsBundlesOnly sends requests to an Envoy whose listener is called "http".
func TestAListenerServesItsBundlesOnly(t *testing.T) {
	server, directory := startServer(t)
	envoy := envoytest.Start(t, directory)
	waitConnected(t, server)
	on := func(api, context, listener string, hosts ...string) *xds.Bundle {
		message := answeringMessage(t, api, context, hosts...)
		message.Listeners = []string{listener}
		return bundle(t, message)
	}
	gone := answeringMessage(t, "gone", "/gone")
	gone.Listeners = []string{"inside"}
	unserved, err := xds.Unserved(gone)
	if err != nil {
		t.Fatal(err)
	}
	bundles := []*xds.Bundle{
		answering(t, "every", "/every"), on("here", "/here", "http"), on("there", "/there", "inside"), unserved,
		answering(t, "wide", "/wide"), on("narrow", "/wide/narrow", "inside"),
		answering(t, "wildcard", "/", "*.a.example"), on("name", "/", "inside", "b.a.example"),
		on("outer", "/shared", "http"), on("inner", "/shared", "inside"),
	}
	for _, test := range []struct {
		internal   []string
		host, path string
		status     int
		body       string
	}{
		{nil, "x", "/every", 200, "every"},
		{nil, "x", "/here", 200, "here"},
		{nil, "x", "/there", 404, ""},
		{nil, "x", "/gone", 404, ""},
		{nil, "x", "/wide/narrow", 200, "wide"},
		{nil, "b.a.example", "/q", 200, "wildcard"},
		{nil, "x", "/shared", 200, "outer"},
		{[]string{"http", "inside"}, "x", "/shared", 200, "outer"},
		{[]string{"inside"}, "x", "/every", 200, "every"},
		{[]string{"inside"}, "x", "/there", 404, ""},
		{[]string{"http"}, "x", "/every", 404, ""},
		{[]string{"http"}, "x", "/here", 200, "here"},
		{[]string{"http"}, "x", "/wide/narrow", 404, ""},
		{[]string{"http", "inside"}, "b.a.example", "/q", 404, ""},
	} {
		config := xds.Compose(bundles, xds.NewFront(false, test.internal))
		if err := server.SetRoutes(within(t, 20*time.Second), config); err != nil {
			t.Fatal(err)
		}
		if status, body := envoy.Get(test.host, test.path); status != test.status || test.body != "" && body != test.body {
			t.Errorf("%+v: got %d %s", test, status, body)
		}
	}
}

// Without a bundle that names a listener, no request is matched by its listener.
func TestWithoutListenersThereIsOneTree(t *testing.T) {
	config := compose(t, answering(t, "a", "/a"), answering(t, "b", "/b", "b.example"))
	if bytes.Contains(config.Text(), []byte("gatewright.listener")) {
		t.Error("expected no input that asks for the listener")
	}
}
