package node

import (
	"maps"
	"slices"
	"testing"

	"gatewright.dev/policy-engine/internal/node/controller/controllertest"
	"gatewright.dev/policy-engine/internal/node/statedir"
	"gatewright.dev/policy-engine/internal/xds"
)

func TestAHelloNamesTheVersionThatAnEnvoyServesAndWhatMayReplaceIt(t *testing.T) {
	made := func(digest string, acknowledged bool, previous *version) *version {
		return &version{bundle: &xds.Bundle{Digest: digest}, acknowledged: acknowledged, previous: previous}
	}
	versions := running{"served": made("1", true, nil), "new": made("1", false, nil), "updated": made("2", false, made("1", true, nil)), "queued": made("1", true, nil)}
	unserved := map[string]*statedir.Bundle{"down": {Digest: "1"}, "new": {Digest: "1"}}
	refs, served := bundleRefs(versions, unserved, map[string]Obstacle{"queued": {}, "waits": {Reason: "no route to host"}})
	var got []string
	for _, ref := range refs {
		got = append(got, controllertest.RefText(ref))
	}
	equal(t, "refs", got, "down ?", "new ?", "queued 1?", "served 1", "updated 1?", "waits ?")
	if served != 3 {
		t.Errorf("expected three APIs that an Envoy serves, got %d", served)
	}
}

func TestASnapshotStaysAsItWasRead(t *testing.T) {
	p := newPublished()
	if near := p.Near("http", "example.com", "/"); near != xds.NearTo(nil, xds.Front{}, "http", "example.com", "/") {
		t.Errorf("got %+v", near)
	}
	p.updateSnapshot(func(s *snapshot) {
		s.obstacles = map[string]Obstacle{"a": {Reason: "r", Unresolved: "nowhere.example"}, "b": {Reason: "r"}}
	})
	before := p.snapshot.Load()
	p.updateSnapshot(func(s *snapshot) {
		s.running = []*xds.Bundle{{API: "a", Clusters: xds.Resources{"two": {}, "one": {}}}}
	})
	if len(before.running) != 0 || before.obstacles["a"] != p.Obstacle("a") || p.Obstacle("none") != (Obstacle{}) {
		t.Errorf("got %+v", before)
	}
	if got := p.Unresolved(); !maps.Equal(got, map[string]string{"a": "nowhere.example"}) {
		t.Errorf("got %v", got)
	}
	if got := p.Clusters(); len(got) != 1 || !slices.Equal(got["a"], []string{"one", "two"}) {
		t.Errorf("got %v", got)
	}
	if !p.setAdminAddress("127.0.0.1:9901") || p.setAdminAddress("127.0.0.1:9901") {
		t.Error("expected the address to move once")
	}
}
