package xds_test

import (
	"slices"
	"strings"
	"testing"

	"gatewright.dev/policy-engine/gen/envoynames"
	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/xds"
)

// attachedBundle is of an API that another Envoy's route "shop" names.
func attachedBundle() *nodev1.ApiBundle {
	refused := &nodev1.OwnAnswer{Status: 404}
	return &nodev1.ApiBundle{
		Api: "a", Digest: "d", Context: "/a", AttachedTo: []string{"shop", "web/*"},
		Chains: []*nodev1.Chain{{Id: "c"}},
		Operations: &nodev1.OperationTable{
			Id:    "t",
			Paths: []*nodev1.PathMatch{{Match: &nodev1.PathMatch_Regex{Regex: envoynames.EscapedSlashPathPattern}}, {}},
			Rows: []*nodev1.OperationRow{
				{Path: 0, Operation: "307", Answer: &nodev1.OwnAnswer{Status: 307, UnescapeSlashes: true}},
				{Path: 1, Operation: "GET /x", Methods: []string{"GET"}, Chain: "c"},
				{Path: 1, Operation: "PUT /x", Methods: []string{"PUT"}},
				{Path: 1, Operation: "404", Answer: refused},
			},
		},
	}
}

// TestEnvoyHasNothingOfAnAttachedAPI, whether or not it can be served.
func TestEnvoyHasNothingOfAnAttachedAPI(t *testing.T) {
	empty := string(xds.Compose(nil, xds.Front{}).Text())
	message := attachedBundle()
	bundle, err := xds.ParseBundle(message, xds.ExtProc)
	if err != nil {
		t.Fatal(err)
	}
	message.Unserved = "why"
	unserved, err := xds.Unserved(message)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range []*xds.Bundle{bundle, unserved} {
		if string(xds.Compose([]*xds.Bundle{b}, xds.Front{}).Text()) != empty || len(xds.Clusters([]*xds.Bundle{b})) != 0 {
			t.Errorf("expected no route and no cluster of %+v", b)
		}
	}
	if want := []string{"GET /x", "PUT /x"}; !slices.Equal(bundle.Operations, want) || !slices.Equal(bundle.AttachedTo, message.GetAttachedTo()) {
		t.Errorf("expected %v, got %v, %v", want, bundle.Operations, bundle.AttachedTo)
	}
}

// TestAnAttachedBundleThatIsMoreOrLessIsRefused.
func TestAnAttachedBundleThatIsMoreOrLessIsRefused(t *testing.T) {
	for want, change := range map[string]func(*nodev1.ApiBundle){
		"routes, chosen_routes and clusters: expected none": func(b *nodev1.ApiBundle) { b.Routes = [][]byte{nil} },
		"attached_to[1]: expected a name":                   func(b *nodev1.ApiBundle) { b.AttachedTo[1] = "*" },
		"attached_to[0]: expected a name":                   func(b *nodev1.ApiBundle) { b.AttachedTo[0] = "a*b" },
		"operations: expected ids of the bundle's chains":   func(b *nodev1.ApiBundle) { b.Chains = nil },
		"operations: rows: expected some":                   func(b *nodev1.ApiBundle) { b.Operations.Rows = nil },
		"context: expected":                                 func(b *nodev1.ApiBundle) { b.Context = "a" },
	} {
		message := attachedBundle()
		change(message)
		if _, err := xds.ParseBundle(message, xds.ExtProc); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("expected %q, got %v", want, err)
		}
	}
}
