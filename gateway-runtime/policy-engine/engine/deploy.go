package engine

import (
	"context"
	"errors"
	"slices"

	"gatewright.dev/policy-engine/internal/admin"
	"gatewright.dev/policy-engine/internal/pythonbridge"
)

// deploy switches to other executor processes, and with them to the policies of another manifest. If there is an error,
// nothing has changed. Instances of policies that move to another group stay in the leaving processes until the node
// has built them in the other group.
func (e *Engine) deploy(ctx context.Context, deployment admin.Deployment) error {
	if !e.ready.Load() {
		return errors.New("the engine is not ready; try again when it is")
	}
	e.deployMutex.Lock()
	defer e.deployMutex.Unlock()
	next := e.manifest
	if deployment.Manifest != "" {
		read, err := readManifest(deployment.Manifest)
		if err != nil {
			return err
		}
		next = read
	}
	if err := e.manifest.checkSuccessor(next, deployment.Superseded); err != nil {
		return err
	}
	moved := e.manifest.movedPolicies(next)
	policies, err := e.registry.policies(next) //nolint:contextcheck // policies outlive the request that brought them
	if err != nil {
		return err
	}
	if err := e.groups.Deploy(ctx, pythonbridge.Roster{Generation: deployment.Generation, Executors: deployment.Executors,
		Superseded: slices.Concat(deployment.Superseded, moved)}); err != nil {
		return err
	}
	if deployment.Manifest != "" {
		for _, id := range moved {
			e.moves[id]++
		}
		for i, policy := range policies {
			policies[i].Moves = e.moves[policy.ID()]
		}
		e.manifest = next
		e.node.SetPolicies(policies)
	}
	return nil
}
