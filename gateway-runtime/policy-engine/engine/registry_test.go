package engine

import (
	"log/slog"
	"testing"

	"gatewright.dev/policy-engine/internal/pythonbridge"
	"gatewright.dev/policy-engine/internal/store"
	"gatewright.dev/sdk/policy/v1alpha"
)

// A stock engine has the shipped Go policies compiled in, and serves builds with a Python policy of the same name.
func TestTheManifestDecidesWhichPoliciesArePython(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	groups := pythonbridge.NewGroups(nil, pythonbridge.Options{}, log)
	defer groups.Close()
	entries := store.New(log)
	t.Cleanup(entries.Close)
	registry := newRegistry(groups, entries, nil, log)
	ran := false
	registry.Register("quota", "v1.0.0", func(v1alpha.Metadata, v1alpha.Params) (v1alpha.Policy, error) {
		ran = true
		return struct{ v1alpha.Policy }{}, nil
	})
	for _, c := range []struct {
		runtime v1alpha.Runtime
		isGo    bool
	}{{v1alpha.RuntimeGo, true}, {v1alpha.RuntimePython, false}} {
		ran = false
		policies, err := registry.policies(&manifest{Version: 1, Policies: []manifestEntry{
			{Name: "quota", Version: "v1.0.0", Runtime: c.runtime, Group: "default", DefinitionDigest: "x"}}})
		if err != nil {
			t.Fatal(err)
		}
		if _, _ = policies[0].Factory(v1alpha.Metadata{}, nil); ran != c.isGo {
			t.Errorf("%s: expected the compiled factory to run: %t, got %t", c.runtime, c.isGo, ran)
		}
	}
}
