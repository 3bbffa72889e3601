package engine

import (
	"fmt"

	"gatewright.dev/sdk/policy/v1alpha"
)

// Registry holds factories in the order of their registration.
type Registry struct{ entries []entry }

type entry struct {
	metadata v1alpha.Metadata
	factory  v1alpha.Factory
}

type bridge string

func (b bridge) String() string { return "executor group " + string(b) }

// Register adds a policy.
func (r *Registry) Register(name, version string, factory v1alpha.Factory) {
	r.entries = append(r.entries, entry{v1alpha.Metadata{PolicyName: name, PolicyVersion: version}, factory})
}

// BridgeFactory stands for the Python policies of a group.
func (r *Registry) BridgeFactory(group string) v1alpha.Factory {
	return func(v1alpha.Metadata, v1alpha.Params) (v1alpha.Policy, error) { return bridge(group), nil }
}

// Main prints what each registered policy says of itself.
func Main(register func(*Registry)) {
	fmt.Print(describe(register))
}

func describe(register func(*Registry)) string {
	r, text := &Registry{}, ""
	register(r)
	for _, e := range r.entries {
		policy, err := e.factory(e.metadata, nil)
		text += fmt.Sprintln(e.metadata.PolicyName, e.metadata.PolicyVersion, policy, err)
	}
	return text
}
