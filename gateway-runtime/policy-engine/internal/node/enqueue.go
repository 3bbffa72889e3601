package node

import (
	"errors"
	"time"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/node/queue"
	"gatewright.dev/policy-engine/internal/node/statedir"
	"gatewright.dev/policy-engine/internal/secrets"
	"gatewright.dev/policy-engine/internal/xds"
)

// buildQueue holds the APIs that do not run, or not yet, with their builds.
type (
	buildQueue = queue.Queue[*build]
	queuedAPI  = queue.Entry[*build]
)

// mostUnfinished is how many builds may be under way before the next bundle is unpacked: all of them, with their messages, take
// more memory than what is built of them.
const mostUnfinished = 256

// enqueue makes a bundle, which is packed in kept, the newest of its API, unless the build under way takes precedence. It returns the build that the bundle's
// API waits for; nil: none, since the bundle is rejected or is not to be served.
func (n *Node) enqueue(message *nodev1.ApiBundle, kept *statedir.Bundle, revision uint64, outcomes outcomes) *build {
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
	return n.build(entry, kept, outcomes)
}

// startBuilds enqueues the bundles of an update, and returns the builds that their APIs wait for, without those that are done
// meanwhile, of which it returns the candidates. It unpacks one bundle after the other, and lets go of each. While many
// builds are not done, it waits for them, until none is done for the time Gather: slow builds do not delay the others.
func (n *Node) startBuilds(bundles []*statedir.Bundle, revision uint64, outcomes outcomes) (builds map[*build]bool, candidates []*version) {
	builds = map[*build]bool{}
	patient := true
	for i, bundle := range bundles {
		bundles[i] = nil
		message, err := bundle.Message()
		if err != nil {
			n.reject(n.queue.Put(&nodev1.ApiBundle{Api: bundle.API, Digest: bundle.Digest}, revision, nil), err, outcomes)
			continue
		}
		if b := n.enqueue(message, bundle, revision, outcomes); b != nil {
			builds[b] = true
		}
		wait := time.Duration(0)
		if patient && len(builds) >= mostUnfinished {
			wait = n.timing.Gather
		}
		done := n.background.finished(builds, wait)
		patient = patient && (wait == 0 || len(done) > 0)
		candidates = append(candidates, n.acquireBuilt(done, outcomes)...)
	}
	return builds, candidates
}

// build parses the entry's bundle and starts its build, or rejects the entry and returns nil. kept: the bundle, packed; nil: it is to
// be packed.
func (n *Node) build(entry *queuedAPI, kept *statedir.Bundle, outcomes outcomes) *build {
	err := entry.Unpack()
	var bundle *xds.Bundle
	if err == nil {
		bundle, err = xds.ParseBundle(entry.Message, n.options.Engine)
	}
	if err == nil {
		err = n.gateway.MissingSecrets(bundle)
	}
	if err != nil {
		n.reject(entry, err, outcomes)
		return nil
	}
	entry.Bundle = bundle
	return n.startBuild(entry, kept)
}

// startBuild starts a build; its result arrives on n.background.built. kept: as in build.
func (n *Node) startBuild(entry *queuedAPI, kept *statedir.Bundle) *build {
	var names [][]string
	if n.unserved[entry.Message.GetApi()].GetDigest() != entry.Message.GetDigest() {
		names = n.newNames(entry.Bundle)
	}
	b := n.chains.startBuild(entry.Message, kept, func() error { return n.names.resolve(n.background.lifetime, names) }, func(b *build) {
		if !deliver(n.background, n.background.built, b) {
			n.chains.discard(b)
		}
	})
	b.operations, b.attachedTo = entry.Bundle.Table, entry.Bundle.AttachedTo
	entry.Begin(b)
	return b
}

// acquireBuilt makes candidates of builds that are done. It puts their chains into the table.
func (n *Node) acquireBuilt(builds []*build, outcomes outcomes) (candidates []*version) {
	for _, b := range builds {
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
			n.startBuild(entry, b.kept)
			continue
		}
		if err != nil {
			n.reject(entry, err, outcomes)
		} else {
			n.rotations.Add(n.chains.rotatable(b.message)...)
			entry.Pack(b.kept.Message)
			candidates = append(candidates, &version{chains: b.refs, kept: b.kept, bundle: entry.Bundle, revision: entry.Revision})
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
		outcomes.of(entry.Revision).add(entry.Message.GetApi(), entry.Message.GetDigest(), entry.State(), entry.Reason())
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
