package engine

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"gatewright.dev/sdk/policy/v1alpha"
)

// manifest is the part of a build's manifest.json that the engine needs.
type manifest struct {
	Version  int             `json:"version"`
	Policies []manifestEntry `json:"policies"`
}

type manifestEntry struct {
	Name             string                   `json:"name"`
	Version          string                   `json:"version"`
	Runtime          v1alpha.Runtime          `json:"runtime"`
	Group            string                   `json:"group"` // of executors; Python only
	Definition       v1alpha.PolicyDefinition `json:"definition"`
	DefinitionDigest string                   `json:"definitionDigest"`
}

func (e manifestEntry) id() string { return e.Name + ":" + e.Version }

// prepareTimeout is the definition's; 0 if it has none.
func (e manifestEntry) prepareTimeout() time.Duration {
	timeout, _ := time.ParseDuration(e.Definition.PrepareTimeout) // check has refused invalid ones
	return timeout
}

func (m *manifest) hasPython() bool {
	return slices.ContainsFunc(m.Policies, func(e manifestEntry) bool { return e.Runtime == v1alpha.RuntimePython })
}

// checkSuccessor lists the parts of another manifest that cannot replace this one's while the engine runs. Instances of
// superseded Python policies are replaced, so that everything about these may change. A Python policy may move to
// another group.
func (m *manifest) checkSuccessor(next *manifest, superseded []string) error {
	present := map[string]manifestEntry{}
	for _, entry := range m.Policies {
		present[entry.id()] = entry
	}
	var errs []error
	for _, entry := range next.Policies {
		before, known := present[entry.id()]
		switch {
		case slices.Contains(superseded, entry.id()) && before.Runtime == v1alpha.RuntimePython && entry.Runtime == v1alpha.RuntimePython:
		case known && before.DefinitionDigest != entry.DefinitionDigest:
			errs = append(errs, fmt.Errorf("policy %s: expected the definition that %s was built with, got a changed one; give it a new version", entry.id(), entry.id()))
		case known && before.Runtime != entry.Runtime:
			errs = append(errs, fmt.Errorf("policy %s: expected runtime %s as before, got %s; give it a new version",
				entry.id(), before.Runtime, entry.Runtime))
		}
	}
	return errors.Join(errs...)
}

// movedPolicies are the Python policies that are in another executor group in the next manifest.
func (m *manifest) movedPolicies(next *manifest) (ids []string) {
	groups := map[string]string{}
	for _, entry := range m.Policies {
		groups[entry.id()] = entry.Group
	}
	for _, entry := range next.Policies {
		if before, known := groups[entry.id()]; known && before != entry.Group {
			ids = append(ids, entry.id())
		}
	}
	return ids
}

func readManifest(path string) (*manifest, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w; --manifest names the manifest.json of a build's output", err)
	}
	read := &manifest{}
	if err := json.Unmarshal(text, read); err != nil {
		return nil, fmt.Errorf("manifest %s: %w", path, err)
	}
	if read.Version != 1 {
		return nil, fmt.Errorf("manifest %s: version: expected 1, got %d; build again with this Gatewright", path, read.Version)
	}
	var errs []error
	for i, entry := range read.Policies {
		if err := entry.check(); err != nil {
			errs = append(errs, fmt.Errorf("manifest %s: policies[%d]: %w", path, i, err))
		}
	}
	return read, errors.Join(errs...)
}

func (e manifestEntry) check() error {
	switch {
	case e.Name == "" || e.Version == "" || e.DefinitionDigest == "":
		return fmt.Errorf("expected name, version and definitionDigest, got %q, %q, %q", e.Name, e.Version, e.DefinitionDigest)
	case e.Runtime != v1alpha.RuntimeGo && e.Runtime != v1alpha.RuntimePython:
		return fmt.Errorf("%s: runtime: expected go or python, got %q", e.id(), e.Runtime)
	case e.Runtime == v1alpha.RuntimePython && e.Group == "":
		return fmt.Errorf("%s: group: expected the name of an executor group, got none", e.id())
	}
	if timeout, err := time.ParseDuration(cmp.Or(e.Definition.PrepareTimeout, "10s")); err != nil || timeout <= 0 {
		return fmt.Errorf("%s: definition: prepareTimeout: expected a time like 30s, got %q", e.id(), e.Definition.PrepareTimeout)
	}
	return nil
}
