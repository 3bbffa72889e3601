package engine

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"

	"gatewright.dev/policy-engine/internal/pythonbridge"
	"gatewright.dev/policy-engine/internal/store"
	"gatewright.dev/sdk/policy/v1alpha"
)

// counting is a Go policy that counts its instances.
type counting struct{ v1alpha.Policy }

func newCounting(metadata v1alpha.Metadata, _ v1alpha.Params) (v1alpha.Policy, error) {
	made, err := metadata.Metrics.Counter("instances_total", "Instances that were made.", "api")
	if err != nil {
		return nil, err
	}
	made.Inc(metadata.APIName)
	return counting{}, nil
}

func TestGoPoliciesCountByTheirRegistryKey(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	groups := pythonbridge.NewGroups(nil, pythonbridge.Options{}, log)
	defer groups.Close()
	entries := store.New(log)
	t.Cleanup(entries.Close)
	e := &Engine{options: Options{Log: log}, groups: groups, registry: newRegistry(groups, entries, nil, log)}
	definitions := &manifest{Version: 1}
	for _, version := range []string{"v1.0.0", "v2.0.0"} {
		e.registry.Register("counting", version, newCounting)
		definitions.Policies = append(definitions.Policies, manifestEntry{Name: "counting", Version: version, Runtime: v1alpha.RuntimeGo, DefinitionDigest: "x"})
	}
	policies, err := e.registry.policies(definitions)
	if err != nil {
		t.Fatal(err)
	}
	for _, policy := range policies {
		for _, api := range []string{"a", "b", "b"} {
			if _, err := policy.Factory(v1alpha.Metadata{APIName: api}, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	families, err := e.policyMetrics().Gather()
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(&text, family); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{
		`gatewright_policy_instances_total{api="a",policy="counting:v1.0.0"} 1`, `gatewright_policy_instances_total{api="b",policy="counting:v2.0.0"} 2`,
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("expected %s, got %s", want, text.String())
		}
	}
}
