package node

import (
	"errors"
	"time"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/node/queue"
	"gatewright.dev/policy-engine/internal/secrets"
	"gatewright.dev/policy-engine/internal/xds"
)

// buildQueue holds the APIs that do not run, or not yet, with their builds.
type (
	buildQueue = queue.Queue[*build]
	queuedAPI  = queue.Entry[*build]
)

// enqueue makes a bundle the newest of its API, unless the build under way takes precedence. It returns the build that the bundle's
// API waits for; nil: none, since the bundle is rejected or is not to be served.
func (n *Node) enqueue(message *nodev1.ApiBundle, revision uint64, outcomes outcomes) *build {
	unserved := ""
	if n.running[message.GetApi()] == nil {
		unserved = n.unserved[message.GetApi()].GetDigest()
	}
	if b, kept := n.queue.KeepBuild(message, revision, unserved, time.Now()); kept {
		return b
	}
	entry := n.queue.Put(message, revision, secretsOf(message))
	if message.GetUnserved() != "" {
		return nil
	}
	return n.build(entry, outcomes)
}

// build parses the entry's bundle and starts its build, or rejects the entry and returns nil.
func (n *Node) build(entry *queuedAPI, outcomes outcomes) *build {
	bundle, err := xds.ParseBundle(entry.Message)
	if err == nil {
		err = n.gateway.MissingSecrets(bundle)
	}
	if err != nil {
		n.reject(entry, err, outcomes)
		return nil
	}
	entry.Bundle = bundle
	return n.startBuild(entry)
}

// startBuild starts a build; its result arrives on n.background.built.
func (n *Node) startBuild(entry *queuedAPI) *build {
	var names [][]string
	if n.unserved[entry.Message.GetApi()].GetDigest() != entry.Message.GetDigest() {
		names = n.newNames(entry.Bundle)
	}
	b := n.chains.startBuild(entry.Message, func() error { return n.names.resolve(n.background.lifetime, names) }, func(b *build) {
		if !deliver(n.background, n.background.built, b) {
			n.chains.discard(b)
		}
	})
	b.operations, b.attachedTo = entry.Bundle.Table, entry.Bundle.AttachedTo
	entry.Begin(b)
	return b
}

// acquireBuilt makes candidates of the builds that are done. It puts their chains into the table.
func (n *Node) acquireBuilt(outcomes outcomes) (candidates []*version) {
	for _, b := range n.background.drain() {
		entry := n.queue.Get(b.message.GetApi())
		if entry == nil || !entry.End(b) {
			n.chains.discard(b) // a newer bundle has come
			continue
		}
		err := n.gateway.MissingSecrets(entry.Bundle) // the Gateway may have changed since the build began
		if err != nil {
			n.chains.discard(b)
		} else {
			err = n.chains.acquire(b)
		}
		if errors.Is(err, errStale) || err != nil && entry.Renewed() {
			n.startBuild(entry)
			continue
		}
		if err != nil {
			n.reject(entry, err, outcomes)
		} else {
			n.rotations.Add(n.chains.rotatable(b.message)...)
			candidates = append(candidates, &version{message: outlineOf(b.message), kept: b.kept, bundle: entry.Bundle, revision: entry.Revision})
		}
		if next := entry.DrainNext(); next != nil {
			n.inbox.Requeue(next)
		}
	}
	return candidates
}

// reject reports why a queued API does not run, if that is news.
func (n *Node) reject(entry *queuedAPI, err error, outcomes outcomes) {
	if n.queue.Reject(entry, err, time.Now()) {
		outcomes.of(entry.Revision).add(entry.Message, entry.State(), entry.Reason())
	}
}

// secretsOf returns the secrets that a bundle names. Parameters that cannot be read name none; the build reports them.
func secretsOf(bundle *nodev1.ApiBundle) []secrets.Ref {
	var result []secrets.Ref
	for _, message := range bundle.GetChains() {
		for _, attachment := range message.GetAttachments() {
			refs, err := refsOf(bundle.GetApi(), attachment)
			if err == nil {
				result = append(result, refs...)
			}
		}
	}
	return result
}
