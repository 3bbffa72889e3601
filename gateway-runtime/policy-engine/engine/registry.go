package engine

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"gatewright.dev/policy-engine/internal/consumers"
	"gatewright.dev/policy-engine/internal/node"
	"gatewright.dev/policy-engine/internal/policymetrics"
	"gatewright.dev/policy-engine/internal/pythonbridge"
	"gatewright.dev/policy-engine/internal/store"
	"gatewright.dev/sdk/policy/v1alpha"
)

// Registry holds the factories of the compiled-in policies.
type Registry struct {
	factories map[string]v1alpha.Factory
	groups    *pythonbridge.Groups
	log       *slog.Logger
	metrics   map[string]*v1alpha.Metrics // of Go policies, by name:version
	store     *store.Store
	consumers *consumers.Index
	mistakes  []string
}

func newRegistry(groups *pythonbridge.Groups, store *store.Store, consumers *consumers.Index, log *slog.Logger) *Registry {
	return &Registry{factories: map[string]v1alpha.Factory{}, groups: groups, store: store, consumers: consumers, log: log, metrics: map[string]*v1alpha.Metrics{}}
}

// Register adds the factory of one version of a policy: "add-headers", "v1.0.0". A duplicate is a mistake of the build,
// which stops the engine at start.
func (r *Registry) Register(name, version string, f v1alpha.Factory) {
	id := name + ":" + version
	if _, double := r.factories[id]; double || f == nil {
		r.mistakes = append(r.mistakes, fmt.Sprintf("%s is registered twice, or without a factory", id))
	}
	r.factories[id] = f
	if r.metrics[id] == nil {
		r.metrics[id] = v1alpha.NewMetrics(func(message string) { r.log.Warn(message, "policy", id) })
	}
}

// policyMetrics are the metrics that Go policies define.
func (r *Registry) policyMetrics() []policymetrics.Metric {
	var all []policymetrics.Metric
	for _, id := range slices.Sorted(maps.Keys(r.metrics)) {
		for _, snapshot := range r.metrics[id].Snapshot() {
			all = append(all, policymetrics.Metric{Policy: id, MetricSnapshot: snapshot})
		}
	}
	return all
}

// withMetrics gives instances the metrics of their policy.
func withMetrics(metrics *v1alpha.Metrics, factory v1alpha.Factory) v1alpha.Factory {
	return func(metadata v1alpha.Metadata, params v1alpha.Params) (v1alpha.Policy, error) {
		metadata.Metrics = metrics
		return factory(metadata, params)
	}
}

// withStore gives instances the store of their policy at their API.
func withStore(store *store.Store, factory v1alpha.Factory) v1alpha.Factory {
	return func(metadata v1alpha.Metadata, params v1alpha.Params) (v1alpha.Policy, error) {
		metadata.Store = store.Of(metadata.PolicyName, metadata.APIName)
		return factory(metadata, params)
	}
}

// withConsumers gives instances the node's consumers.
func withConsumers(consumers *consumers.Index, factory v1alpha.Factory) v1alpha.Factory {
	return func(metadata v1alpha.Metadata, params v1alpha.Params) (v1alpha.Policy, error) {
		metadata.Consumers = consumers
		return factory(metadata, params)
	}
}

// BridgeFactory returns the factory of Python policies that run in an executor group.
func (r *Registry) BridgeFactory(group string) v1alpha.Factory { return r.groups.BridgeFactory(group) }

// policies joins the manifest with the registry. The manifest decides which policies are in Python, and these use the
// bridge even if a Go policy of the same name is compiled in: so a stock engine serves any Python policy.
func (r *Registry) policies(manifest *manifest) ([]node.Policy, error) {
	var all []node.Policy
	mistakes := slices.Clone(r.mistakes)
	for _, entry := range manifest.Policies {
		factory := r.factories[entry.id()]
		if entry.Runtime == v1alpha.RuntimePython {
			factory = r.BridgeFactory(entry.Group)
		}
		if factory == nil {
			mistakes = append(mistakes, fmt.Sprintf("%s is in the manifest but not compiled into this engine, which has %s; build again, and restart the engine",
				entry.id(), strings.Join(slices.Sorted(maps.Keys(r.factories)), ", ")))
			continue
		}
		if entry.Runtime == v1alpha.RuntimeGo {
			factory = withMetrics(r.metrics[entry.id()], factory)
		}
		factory = withConsumers(r.consumers, withStore(r.store, factory))
		all = append(all, node.Policy{Name: entry.Name, Version: entry.Version, DefinitionDigest: entry.DefinitionDigest,
			Mode: entry.Definition.ProcessingMode, PrepareTimeout: entry.prepareTimeout(), Factory: factory})
	}
	if len(mistakes) > 0 {
		return nil, fmt.Errorf("policies: %s", strings.Join(mistakes, "; "))
	}
	return all, nil
}
