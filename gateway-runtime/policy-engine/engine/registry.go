package engine

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"gatewright.dev/policy-engine/internal/node"
	"gatewright.dev/policy-engine/internal/pythonbridge"
	"gatewright.dev/sdk/policy/v1alpha"
)

// Registry holds the factories of the policies that were compiled in.
type Registry struct {
	factories map[string]v1alpha.Factory
	groups    *pythonbridge.Groups
	mistakes  []string
}

func newRegistry(groups *pythonbridge.Groups) *Registry {
	return &Registry{factories: map[string]v1alpha.Factory{}, groups: groups}
}

// Register adds the factory of one version of a policy: "add-headers", "v1.0.0". The same twice is a mistake of the
// build, which stops the engine at start.
func (r *Registry) Register(name, version string, f v1alpha.Factory) {
	id := name + ":" + version
	if _, double := r.factories[id]; double || f == nil {
		r.mistakes = append(r.mistakes, fmt.Sprintf("%s is registered twice, or without a factory", id))
	}
	r.factories[id] = f
}

// BridgeFactory returns the factory of Python policies that run in an executor group.
func (r *Registry) BridgeFactory(group string) v1alpha.Factory { return r.groups.BridgeFactory(group) }

// policies joins the manifest with the registry. Python policies that were not compiled in go through the bridge all
// the same: a stock engine serves any Python policy.
func (r *Registry) policies(manifest *manifest) ([]node.Policy, error) {
	var all []node.Policy
	mistakes := slices.Clone(r.mistakes)
	for _, entry := range manifest.Policies {
		factory := r.factories[entry.id()]
		if factory == nil && entry.Runtime == v1alpha.RuntimePython {
			factory = r.BridgeFactory(entry.Group)
		}
		if factory == nil {
			mistakes = append(mistakes, fmt.Sprintf("%s stands in the manifest but is not compiled into this engine, which has %s; build again, and restart the engine",
				entry.id(), strings.Join(slices.Sorted(maps.Keys(r.factories)), ", ")))
			continue
		}
		all = append(all, node.Policy{Name: entry.Name, Version: entry.Version, DefinitionDigest: entry.DefinitionDigest,
			Mode: entry.Definition.ProcessingMode, PrepareTimeout: entry.prepareTimeout(), Factory: factory})
	}
	if len(mistakes) > 0 {
		return nil, fmt.Errorf("policies: %s", strings.Join(mistakes, "; "))
	}
	return all, nil
}
