package accesslog_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/accesslog"
	"gatewright.dev/policy-engine/internal/exchange"
	"gatewright.dev/policy-engine/internal/node"
	"gatewright.dev/policy-engine/internal/proxyanswer"
	"gatewright.dev/policy-engine/internal/recording"
	"gatewright.dev/policy-engine/internal/redaction"
	"gatewright.dev/policy-engine/internal/xds"
)

// entry is what Envoy logs of an exchange.
func entry(id, route, flags, details string, status uint32) *accesslogv3.HTTPAccessLogEntry {
	return &accesslogv3.HTTPAccessLogEntry{
		CommonProperties: &accesslogv3.AccessLogCommon{RouteName: route, StartTime: timestamppb.New(time.Unix(1, 0)),
			CustomTags: map[string]string{"method": "GET", "path": "/oders/7?a=1", "authority": "a.example", "flags": flags, "listener": "public"}},
		Request:  &accesslogv3.HTTPRequestProperties{RequestId: id},
		Response: &accesslogv3.HTTPResponseProperties{ResponseCode: wrapperspb.UInt32(status), ResponseCodeDetails: details},
	}
}

// TestEntriesAreCountedAndRecorded: an upstream's answer is nothing, one with a chain is counted, all others are recorded, too;
// and of many in a second, all are recorded, but only some with near alternatives.
func TestEntriesAreCountedAndRecorded(t *testing.T) {
	recorder := recording.NewRecorder(recording.Options{Node: "node-1", Watches: &exchange.Watches{}, Log: slog.New(slog.DiscardHandler)})
	recorder.Configure(&nodev1.Recording{MaxBytes: 1 << 20, BodyBytes: 1 << 10}, redaction.New(nil))
	looked := 0
	obstacles := map[string]node.Obstacle{"lost": {Reason: "no policy tag:v1.0.0 in this build"}, "nameless": {Reason: "upstream: …", Unresolved: "nowhere.example"}}
	answers := &accesslog.Answers{Counter: proxyanswer.NewCounter(), Recorder: recorder, Near: func(listener, authority, path string) xds.Near {
		looked++
		return xds.Near{API: listener, Reason: authority + " has no " + path, Cure: "look elsewhere"}
	}, Obstacle: func(api string) node.Obstacle { return obstacles[api] }}
	if answers.Read(entry("unwatched", "", "NR", "route_not_found", 404)); looked != 0 {
		t.Error("expected no search without a recording")
	}
	if _, err := recorder.Start(recording.Filter{}, time.Minute); err != nil {
		t.Fatal(err)
	}
	answers.Read(entry("upstreams", "orders|GET /|", "URX", "via_upstream", 503))
	answers.Read(entry("seen", "orders|GET /|c1", "UF", "upstream_reset", 503))
	answers.Read(entry("own", "orders|GET /|", "UF", "upstream_reset", 503))
	answers.Read(entry("foreign", "orders|GET /|c1", "", "rbac_access_denied_matched_policy[other-hosts]", 421))
	answers.Read(entry("unserved", "lost|503|", "", "direct_response", 503))
	answers.Read(entry("unresolved", "nameless|503|", "", "direct_response", 503))
	for n := range 30 {
		answers.Read(entry(fmt.Sprint("none-", n), "", "NR", "route_not_found", 404))
	}
	if kept := recorder.Kept(recording.Filter{}); len(kept) != 34 || looked != 20 {
		t.Errorf("expected 34 exchanges of which 20 have near alternatives, got %d and %d", len(kept), looked)
	}
	if kept := recorder.Kept(recording.Filter{API: "public"}); len(kept) != 20 {
		t.Errorf("expected 20 of which the listener was known, got %d", len(kept))
	}
	if kept := recorder.Kept(recording.Filter{API: "orders"}); len(kept) != 2 {
		t.Errorf("expected the two that the engine has not seen, got %q", kept)
	}
	const why = "the API lost cannot be served at present: " // without redaction's settings no more is shown
	if kept := recorder.Kept(recording.Filter{API: "lost"}); len(kept) != 1 || !strings.Contains(string(kept[0]), why) || !strings.Contains(string(kept[0]), `"party":"gateway"`) {
		t.Errorf("expected one that says %q, got %q", why, kept)
	}
	if kept := recorder.Kept(recording.Filter{API: "nameless"}); len(kept) != 1 || !strings.Contains(string(kept[0]), `"party":"upstream","code":"name_unresolved"`) {
		t.Errorf("expected one of the upstream, got %q", kept)
	}
}
