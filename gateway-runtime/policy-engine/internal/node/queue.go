package node

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/node/transient"
	"gatewright.dev/policy-engine/internal/secrets"
	"gatewright.dev/policy-engine/internal/xds"
)

// queuedAPI is the newest bundle of an API that does not run yet, whether another version runs or none: it is being built, waits
// for its retry, or was rejected.
type queuedAPI struct {
	message  *nodev1.ApiBundle // without a digest: the API is to be removed
	bundle   *xds.Bundle       // once the message is parsed
	fallback *xds.Bundle       // answers requests to its context that no running version covers; nil if its context cannot be read
	revision uint64            // of the update that brought it
	build    *build            // under way; nil: none
	secrets  []secrets.Ref     // the secrets that it names
	next     *nodev1.Update    // to be applied once it is done
	nextBy   time.Time         // or at this time
	renewed  bool              // the node's policies have changed since the build began
	tries    int               // failed tries
	retryAt  time.Time         // zero: no retry until the API or the policies change
	state    nodev1.ApiStatus_State
	reason   string // why it was rejected, as reported

	unresolved string // if the reason is an upstream name that does not resolve: that name
}

// enqueue makes a bundle the newest of its API.
func (n *Node) enqueue(message *nodev1.ApiBundle, revision uint64) *queuedAPI {
	fallback, err := xds.Unserved(message)
	if err != nil {
		fallback = nil // parsing the bundle reports the mistake
	}
	q := &queuedAPI{message: message, fallback: fallback, revision: revision, secrets: secretsOf(message)}
	n.queue[message.GetApi()] = q
	return q
}

// keepsBuild reports whether the build under way of an API takes precedence over a bundle: it builds this bundle, or the last good
// version, which no bundle replaces before it is served.
func (n *Node) keepsBuild(q *queuedAPI, message *nodev1.ApiBundle, revision uint64) bool {
	if q == nil || q.build == nil {
		return false
	}
	api, digest := message.GetApi(), q.message.GetDigest()
	switch {
	case digest == message.GetDigest():
		q.revision, q.next = revision, nil
		q.state, q.reason, q.unresolved = nodev1.ApiStatus_STATE_UNSPECIFIED, "", "" // to be reported again
	case n.running[api] == nil && n.unserved[api].GetDigest() == digest && q.tries == 0:
		if q.next == nil {
			q.nextBy = time.Now().Add(n.timing.LastGood)
		}
		q.next = &nodev1.Update{Revision: revision, Bundles: []*nodev1.ApiBundle{message}}
	default:
		return false
	}
	return true
}

// expireLastGoodWaits returns updates to the inbox that have waited too long for a last good version.
func (n *Node) expireLastGoodWaits(now time.Time) {
	for _, q := range n.queue {
		if q.next != nil && now.After(q.nextBy) {
			q.tries++
			n.inbox.Requeue(q.next)
			q.next = nil
		}
	}
}

// build parses the bundle and starts its build; the result arrives on n.built.
func (n *Node) build(q *queuedAPI, outcomes outcomes) {
	bundle, err := xds.ParseBundle(q.message)
	if err == nil {
		err = n.gateway.MissingSecrets(bundle)
	}
	if err != nil {
		n.reject(q, err, outcomes)
		return
	}
	q.bundle = bundle
	n.startBuild(q)
}

func (n *Node) startBuild(q *queuedAPI) {
	q.renewed = false
	names := n.namesToResolve(q)
	q.build = n.chains.startBuild(q.message, func() error { return n.resolve(names) }, n.deliver)
}

// deliver hands a finished build to the node's own goroutine.
func (n *Node) deliver(b *build) {
	select {
	case n.built <- b:
	case <-n.lifetime.Done():
		n.chains.discard(b)
	}
}

// reject reports why a queued API does not run. If the error is transient the API is pending and retried with back-off,
// otherwise it is rejected.
func (n *Node) reject(q *queuedAPI, err error, outcomes outcomes) {
	state := nodev1.ApiStatus_STATE_REJECTED
	q.retryAt = time.Time{}
	if transient.Is(err) {
		state, q.retryAt = nodev1.ApiStatus_STATE_PENDING, time.Now().Add(n.timing.retry().Wait(q.tries))
	}
	q.tries++
	if reason := strings.ToValidUTF8(err.Error(), "�"); reason != q.reason || state != q.state {
		q.state, q.reason, q.unresolved = state, reason, unresolvedName(err)
		outcomes.of(q.revision).add(q.message, state, reason)
	}
}

// unresolvedName returns the upstream name whose failed resolution caused err; "": another cause.
func unresolvedName(err error) string {
	if unresolved, ok := errors.AsType[unresolvedError](err); ok {
		return unresolved.name
	}
	return ""
}

// Obstacle is the reason why the newest version of an API does not run.
type Obstacle struct {
	Reason     string // "": it runs, or is being built
	Unresolved string // if the reason is an upstream name that does not resolve: that name
}

func (q *queuedAPI) obstacle() Obstacle {
	return Obstacle{q.message.GetUnserved() + q.reason, cmp.Or(q.unresolved, q.message.GetUnresolved())}
}

// nextRetry returns how long to wait for the earliest retry.
func (n *Node) nextRetry(now time.Time) time.Duration {
	next := time.Hour
	for _, q := range n.queue {
		if q.build == nil && !q.retryAt.IsZero() {
			next = min(next, max(0, q.retryAt.Sub(now)))
		}
	}
	return min(next, n.gateway.NextRetry(now))
}

// due returns the APIs whose retry is due, sorted.
func (n *Node) due(now time.Time) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(n.queue)), func(api string) bool {
		q := n.queue[api]
		return q.build != nil || q.retryAt.IsZero() || q.retryAt.After(now)
	})
}

// retryAll makes all queued APIs due, whatever the reason: the node's policies have changed.
func (n *Node) retryAll() {
	for _, q := range n.queue {
		q.renewed = q.build != nil
		if q.message.GetUnserved() == "" && q.build == nil {
			q.tries, q.retryAt = 0, time.Now()
		}
	}
}

// bundles returns the bundles for Envoy: those of the running versions, and the fallbacks of queued APIs outside of their contexts.
func (n *Node) bundles(next running) []*xds.Bundle {
	bundles := next.bundles()
	for _, api := range slices.Sorted(maps.Keys(n.queue)) {
		q, v := n.queue[api], next[api]
		if q.fallback != nil && (v == nil || !v.bundle.Covers(q.fallback.Context)) {
			bundles = append(bundles, q.fallback)
		}
	}
	return bundles
}

// fallbacks returns the APIs without a running version in the form that is stored: they are answered 503 after a restart as well.
func (n *Node) fallbacks() []*nodev1.ApiBundle {
	var bundles []*nodev1.ApiBundle
	for _, api := range slices.Sorted(maps.Keys(n.queue)) {
		q := n.queue[api]
		if n.running[api] != nil || n.unserved[api] != nil || q.fallback == nil {
			continue
		}
		obstacle := q.obstacle()
		bundles = append(bundles, &nodev1.ApiBundle{Api: api, Hosts: q.message.GetHosts(), Context: q.message.GetContext(),
			Unserved: cmp.Or(obstacle.Reason, "it was being built"), Unresolved: obstacle.Unresolved})
	}
	return bundles
}
