package xds_test

import (
	"encoding/json"
	"testing"
	"time"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/xds"
	"gatewright.dev/policy-engine/internal/xds/envoytest"
)

func unserved(t *testing.T, api, context string, hosts ...string) *xds.Bundle {
	t.Helper()
	made, err := xds.Unserved(&nodev1.ApiBundle{Api: api, Context: context, Hosts: hosts})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestAnUnservedAPIIsAnswered503UnderItsContextOnly(t *testing.T) {
	server, directory := startServer(t)
	config := compose(t, answering(t, "root", "/"), unserved(t, "away", "/away"), answering(t, "below", "/away/below"),
		answering(t, "moved", "/taken"), unserved(t, "astray", "/taken"), unserved(t, "named", "/named", "n.example"),
		answering(t, "wide", "/both"), unserved(t, "narrow", "/both", "n.example"))
	_ = server.SetRoutes(t.Context(), config)
	envoy := envoytest.Start(t, directory)
	waitConnected(t, server)
	if err := server.SetRoutes(within(t, 20*time.Second), config); err != nil {
		t.Fatal(err)
	}
	for path, api := range map[string]string{"/": "root", "/awayX": "root", "/away/below/1": "below", "/taken/1": "moved", "/named": "root", "/both": "wide"} {
		if status, body := envoy.Get("a", path); body != api {
			t.Errorf("%s: expected %q, got %d %q", path, api, status, body)
		}
	}
	for _, asked := range [][2]string{{"a", "/away?x"}, {"b", "/away"}, {"c", "/away/1"}, {"n.example", "/named/x"}, {"n.example", "/both/x"}} {
		host, path := asked[0], asked[1]
		status, headers, body, err := envoy.Ask(host, path)
		var problem struct {
			Title, Detail, RequestID string
			Status                   int
		}
		if err != nil || json.Unmarshal([]byte(body), &problem) != nil || status != 503 || problem.Status != 503 ||
			headers.Get("retry-after") == "" || headers.Get("content-type") != "application/problem+json" || problem.RequestID == "" {
			t.Errorf("%s%s: expected 503 as a problem with retry-after and request id, got %d %v %s, %v", host, path, status, headers, body, err)
		}
	}
}

func TestAnUnservedAPINeedsAContext(t *testing.T) {
	if _, err := xds.Unserved(&nodev1.ApiBundle{Api: "a", Context: "x"}); err == nil {
		t.Error("expected a mistake")
	}
}
