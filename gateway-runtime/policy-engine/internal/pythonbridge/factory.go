package pythonbridge

import (
	"fmt"
	"strings"
	"unicode/utf8"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/sdk/policy/v1alpha"
)

// BridgeFactory returns the factory of Python policies that run in group. The factory configures the instance in
// every connected process before it returns; its error is the reason that the executor gave. It waits for the first
// process to connect (Options.ConnectTimeout) and for the instance to be ready (Options.ConfigureTimeout).
func (g *Groups) BridgeFactory(group string) v1alpha.Factory {
	return func(metadata v1alpha.Metadata, params v1alpha.Params) (v1alpha.Policy, error) {
		processes := g.group(group)
		if processes == nil || len(processes.allProcesses()) == 0 {
			return nil, fmt.Errorf("policy %s:%s is built for executor group %q, but the engine was started with executors for %s; start it with --executor %s=unix:PATH",
				metadata.PolicyName, metadata.PolicyVersion, group, listGroups(g.names()), group)
		}
		return newBridge(processes, metadata, params)
	}
}

func newBridge(processes *group, metadata v1alpha.Metadata, params v1alpha.Params) (v1alpha.Policy, error) {
	configure, err := configuration(metadata, params)
	if err != nil {
		return nil, err
	}
	target := newInstance(configure)
	target.store = metadata.Store
	if metadata.Timeout > 0 {
		target.streamTimeout = metadata.Timeout
	}
	if err := processes.configureInstance(target); err != nil {
		return nil, err
	}
	return &PythonBridge{group: processes, instance: target}, nil
}

// configuration is the part of an instance that is sent once per stream. Its names must be UTF-8: otherwise the frame
// in which they travel together with other instances' could not be sent.
func configuration(metadata v1alpha.Metadata, params v1alpha.Params) (*executorv1.ConfigureInstance, error) {
	for _, name := range []string{
		metadata.PolicyName, metadata.PolicyVersion, metadata.APIName, metadata.APIVersion, metadata.InstanceID, metadata.Operation,
	} {
		if !utf8.ValidString(name) {
			return nil, fmt.Errorf("expected names of policy and API in UTF-8, got %q", name)
		}
	}
	return &executorv1.ConfigureInstance{
		PolicyName: metadata.PolicyName, PolicyVersion: metadata.PolicyVersion,
		ApiName: metadata.APIName, ApiVersion: metadata.APIVersion,
		Parameters: params.JSON(), SystemParameters: metadata.SystemParams,
		MaxConcurrency: uint32(max(metadata.MaxConcurrency, 0)), InstanceId: metadata.InstanceID,
		Operation: metadata.Operation, PrepareTimeoutMs: uint32(metadata.PrepareTimeout.Milliseconds()),
	}, nil
}

func listGroups(names []string) string {
	if len(names) == 0 {
		return "no group"
	}
	return "group " + strings.Join(names, ", ")
}
