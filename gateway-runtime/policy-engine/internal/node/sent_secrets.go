package node

import (
	"maps"
	"slices"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/node/statedir"
	"gatewright.dev/policy-engine/internal/secrets"
)

// receiveSecrets takes the values of the controller's Secrets, and keeps them on disk for a start without it. The chains that use a
// changed one are rotated.
func (n *Node) receiveSecrets(received []*nodev1.SecretValues) {
	if len(received) == 0 {
		return
	}
	sent := map[string]secrets.Sent{}
	for _, secret := range received {
		sent[secret.GetName()] = secrets.Sent{Version: secret.GetVersion(), Values: secret.GetValues(), Unavailable: secret.GetUnavailable()}
		if reason := secret.GetUnavailable(); reason != "" {
			n.log.Error("the controller has no values of a Secret; those that the node has stay in use", "reference", secret.GetName(), "reason", reason)
		} else {
			n.log.Info("the controller has sent a Secret", "reference", secret.GetName())
		}
	}
	if n.secrets.SetSent(sent) {
		n.storeSecrets()
	}
}

// storeSecrets writes the values of the controller's Secrets to their file, which only the node's user may read.
func (n *Node) storeSecrets() {
	held := n.secrets.Sent()
	state := &nodev1.Update{}
	for _, name := range slices.Sorted(maps.Keys(held)) {
		state.Secrets = append(state.Secrets, &nodev1.SecretValues{Name: name, Version: held[name].Version, Values: held[name].Values})
	}
	if err := n.state.Write(statedir.Secrets, state); err != nil {
		n.log.Error("cannot store the values of Secrets: after a restart without controller their previous values would come back",
			"directory", n.state.Path(), "error", err.Error())
	}
}

// restoreSecrets reads the values that storeSecrets wrote. A file that cannot be read is logged and ignored.
func (n *Node) restoreSecrets() {
	state, err := n.state.Read(statedir.Secrets)
	if err != nil {
		n.log.Error("the values of Secrets are damaged: they are ignored, and kept as *.damaged", "error", err.Error())
		n.state.RenameDamaged(statedir.Secrets)
		return
	}
	held := map[string]secrets.Sent{}
	for _, secret := range state.GetSecrets() {
		held[secret.GetName()] = secrets.Sent{Version: secret.GetVersion(), Values: secret.GetValues()}
	}
	n.secrets.SetSent(held)
}

// secretVersions names the controller's Secrets that the node has values of.
func secretVersions(held map[string]secrets.Sent) (versions []*nodev1.SecretVersion) {
	for _, name := range slices.Sorted(maps.Keys(held)) {
		versions = append(versions, &nodev1.SecretVersion{Name: name, Version: held[name].Version})
	}
	return versions
}
