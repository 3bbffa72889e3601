package node

import (
	"slices"
	"testing"
	"time"

	"gatewright.dev/policy-engine/internal/xds"
)

func TestARetiredVersionGoesAfterItsChainsAndItsGrace(t *testing.T) {
	begin := time.Unix(0, 0)
	old := func(cluster string) *version {
		return &version{chains: make([]*chainRef, 1),
			bundle: &xds.Bundle{Clusters: xds.Resources{cluster: {Name: cluster}}}}
	}
	leaving := []departure{{chain: "one"}}
	for name, c := range map[string]struct {
		leaving []departure
		state   progress
		wait    time.Duration // until the version is dropped; 0: it stays
	}{
		"its chain has left the table":    {leaving, departed, 30 * time.Second},
		"its chain is still in the table": {leaving, underWay, 0},
		"the next version shares it":      {nil, underWay, 90 * time.Second},
		"a newer version has it again":    {leaving, undone, 90 * time.Second},
	} {
		r := &retirements{grace: 30 * time.Second, held: time.Minute}
		r.add(old(name), c.leaving, begin)
		state := func(departure) progress { return c.state }
		if dropped, next := r.sweep(state, begin); dropped || c.wait > 0 && next != c.wait {
			t.Errorf("%s: expected the next sweep after %s, got %s", name, c.wait, next)
		}
		if r.clusters()[name].Name == "" {
			t.Errorf("%s: expected its cluster to stay", name)
		}
		if dropped, _ := r.sweep(state, begin.Add(10*time.Minute)); dropped != (c.wait > 0) {
			t.Errorf("%s: dropped: %t", name, dropped)
		}
		if slices.Contains([]progress{departed, undone}, c.state) && len(r.clusters()) > 0 {
			t.Errorf("%s: expected no cluster any more", name)
		}
	}
}
