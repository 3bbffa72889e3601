package node

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/xds"
)

// waiting is the newest word about an API while something else, or nothing, runs of it: it is being built, or was set
// aside.
type waiting struct {
	message  *nodev1.ApiBundle // without a digest: the API is to be removed
	bundle   *xds.Bundle       // once it was read
	unserved *xds.Bundle       // what answers at its context where nothing else of the API does; nil where its context cannot be read
	revision uint64            // of the update that brought it
	build    *build            // under way; nil: none is
	next     *nodev1.Update    // what is to be applied once it is done
	nextBy   time.Time         // or at this time
	renewed  bool              // the node's policies have changed since it began
	tries    int               // that have failed
	retryAt  time.Time         // zero: not until somebody changes something
	state    nodev1.ApiStatus_State
	reason   string // why it was set aside, as it was reported
}

// passing is an error that may pass by itself, so that another try may do better.
type passing struct{ error }

func (p passing) Unwrap() error { return p.error }

func mayPass(err error) bool {
	_, ok := errors.AsType[passing](err)
	return ok || errors.Is(err, xds.ErrNoAnswer)
}

// await makes a bundle the newest word about its API.
func (n *Node) await(message *nodev1.ApiBundle, revision uint64) *waiting {
	unserved, err := xds.Unserved(message)
	if err != nil {
		unserved = nil // what is wrong with it is said when it is read
	}
	w := &waiting{message: message, unserved: unserved, revision: revision}
	n.waiting[message.GetApi()] = w
	return w
}

// goesOn reports whether what is being built of an API comes first: it is this bundle, or the last good version, which
// nothing may replace that is not served.
func (n *Node) goesOn(w *waiting, message *nodev1.ApiBundle, revision uint64) bool {
	if w == nil || w.build == nil {
		return false
	}
	api, digest := message.GetApi(), w.message.GetDigest()
	switch {
	case digest == message.GetDigest():
		w.revision, w.next = revision, nil
		w.state, w.reason = nodev1.ApiStatus_STATE_UNSPECIFIED, "" // to be reported anew
	case n.running[api] == nil && n.dormant[api].GetDigest() == digest && w.tries == 0:
		if w.next == nil {
			w.nextBy = time.Now().Add(n.timing.LastGood)
		}
		w.next = &nodev1.Update{Revision: revision, Bundles: []*nodev1.ApiBundle{message}}
	default:
		return false
	}
	return true
}

// overtake lets go on what has waited long enough for a last good version.
func (n *Node) overtake(now time.Time) {
	for _, w := range n.waiting {
		if w.next != nil && now.After(w.nextBy) {
			w.tries++
			n.inbox.giveBack(w.next)
			w.next = nil
		}
	}
}

// try reads and builds what waits; what was built comes back by n.built.
func (n *Node) try(w *waiting, outcomes outcomes) {
	bundle, err := xds.ParseBundle(w.message)
	if err != nil {
		n.setAside(w, err, outcomes)
		return
	}
	w.bundle = bundle
	n.begin(w)
}

func (n *Node) begin(w *waiting) {
	w.renewed = false
	names := n.namesToResolve(w)
	w.build = n.chains.begin(w.message, func() error { return n.resolve(names) }, n.deliver)
}

// deliver hands a build that is done to the node's own goroutine.
func (n *Node) deliver(b *build) {
	select {
	case n.built <- b:
	case <-n.lifetime.Done():
		n.chains.discard(b)
	}
}

// setAside says why what waits does not run. If the reason may pass, it is tried again, after a while that doubles.
func (n *Node) setAside(w *waiting, err error, outcomes outcomes) {
	state := nodev1.ApiStatus_STATE_REJECTED
	w.retryAt = time.Time{}
	if mayPass(err) {
		state, w.retryAt = nodev1.ApiStatus_STATE_PENDING, time.Now().Add(n.timing.backOff(w.tries))
	}
	w.tries++
	if reason := strings.ToValidUTF8(err.Error(), "�"); reason != w.reason || state != w.state {
		w.state, w.reason = state, reason
		outcomes.of(w.revision).add(w.message, state, reason)
	}
}

// backOff is how long to wait after a number of tries that have failed, this one not counted.
func (t Timing) backOff(tries int) time.Duration {
	return min(t.Retry<<min(tries, 20), max(t.Retry, t.RetryMost))
}

// nextRetry returns when to try again what is due first.
func (n *Node) nextRetry(now time.Time) time.Duration {
	next := time.Hour
	for _, w := range n.waiting {
		if w.build == nil && !w.retryAt.IsZero() {
			next = min(next, max(0, w.retryAt.Sub(now)))
		}
	}
	return next
}

// due are the APIs that are to be tried again now, by name.
func (n *Node) due(now time.Time) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(n.waiting)), func(api string) bool {
		w := n.waiting[api]
		return w.build != nil || w.retryAt.IsZero() || w.retryAt.After(now)
	})
}

// renew makes everything due that waits, whatever its reason: the node's policies have changed.
func (n *Node) renew() {
	for _, w := range n.waiting {
		w.renewed = w.build != nil
		if w.message.GetUnserved() == "" && w.build == nil {
			w.tries, w.retryAt = 0, time.Now()
		}
	}
}

// bundles are what Envoy is to have: what runs, and for each API what answers where it is to be and nothing of it is.
func (n *Node) bundles(next running) []*xds.Bundle {
	all := next.bundles()
	for _, api := range slices.Sorted(maps.Keys(n.waiting)) {
		w, v := n.waiting[api], next[api]
		if w.unserved != nil && (v == nil || !v.bundle.Covers(w.unserved.Context)) {
			all = append(all, w.unserved)
		}
	}
	return all
}

// unserved are the APIs of which nothing runs, as they are kept on disk: they are answered 503 after a restart as well.
func (n *Node) unserved() []*nodev1.ApiBundle {
	var all []*nodev1.ApiBundle
	for _, api := range slices.Sorted(maps.Keys(n.waiting)) {
		w := n.waiting[api]
		if n.running[api] != nil || n.dormant[api] != nil || w.unserved == nil {
			continue
		}
		reason := w.message.GetUnserved() + w.reason
		if reason == "" {
			reason = "it was being built"
		}
		all = append(all, &nodev1.ApiBundle{Api: api, Hosts: w.message.GetHosts(), Context: w.message.GetContext(), Unserved: reason})
	}
	return all
}
