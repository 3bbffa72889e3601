// Package queue holds the newest bundle of each API that does not run, or not yet, whether another version runs or none: it is being
// built, waits for its retry, or was rejected.
//
// A queue builds and reports nothing: its owner builds what is due, and tells the queue how that ended. A build is known by a value
// of the owner's type B, whose zero value stands for none.
package queue

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/backoff"
	"gatewright.dev/policy-engine/internal/node/transient"
	"gatewright.dev/policy-engine/internal/secrets"
	"gatewright.dev/policy-engine/internal/xds"
)

// Queue holds one entry for each API. One goroutine calls its methods.
type Queue[B comparable] struct {
	entries  map[string]*Entry[B]
	retry    backoff.Doubling
	lastGood time.Duration // for the last good version to be built, before a newer version is tried all the same
}

// New makes an empty queue.
func New[B comparable](retry backoff.Doubling, lastGood time.Duration) *Queue[B] {
	return &Queue[B]{entries: map[string]*Entry[B]{}, retry: retry, lastGood: lastGood}
}

// Len returns the number of APIs.
func (q *Queue[B]) Len() int { return len(q.entries) }

// Get returns an API's entry; nil: it has none.
func (q *Queue[B]) Get(api string) *Entry[B] { return q.entries[api] }

// Remove removes an API.
func (q *Queue[B]) Remove(api string) { delete(q.entries, api) }

// Put makes a bundle, which names these secrets, the newest of its API. A bundle without a digest asks for the API's removal.
func (q *Queue[B]) Put(message *nodev1.ApiBundle, revision uint64, names []secrets.Ref) *Entry[B] {
	fallback, err := xds.Unserved(message)
	if err != nil {
		fallback = nil // parsing the bundle reports the mistake
	}
	entry := &Entry[B]{Message: message, Revision: revision, fallback: fallback, secrets: names}
	q.entries[message.GetApi()] = entry
	return entry
}

// KeepBuild returns the build under way of a bundle's API, if that takes precedence over the bundle: it builds this bundle, or the
// last good version, which no bundle replaces before it is served. unserved is the digest of a last good version that does not
// run; "": none.
func (q *Queue[B]) KeepBuild(message *nodev1.ApiBundle, revision uint64, unserved string, now time.Time) (build B, kept bool) {
	entry := q.entries[message.GetApi()]
	if entry == nil || !entry.Building() {
		return build, false
	}
	switch digest := entry.Message.GetDigest(); {
	case digest == message.GetDigest():
		entry.Revision, entry.next = revision, nil
		entry.state, entry.reason, entry.unresolved = nodev1.ApiStatus_STATE_UNSPECIFIED, "", "" // to be reported again
	case unserved == digest && entry.tries == 0:
		if entry.next == nil {
			entry.nextBy = now.Add(q.lastGood)
		}
		entry.next = &nodev1.Update{Revision: revision, Bundles: []*nodev1.ApiBundle{message}}
	default:
		return build, false
	}
	return entry.build, true
}

// ExpireWaits returns the updates that have waited too long for a last good version: they are to be applied now.
func (q *Queue[B]) ExpireWaits(now time.Time) (updates []*nodev1.Update) {
	for _, entry := range q.entries {
		if entry.next != nil && now.After(entry.nextBy) {
			entry.tries++
			updates = append(updates, entry.DrainNext())
		}
	}
	return updates
}

// Reject notes why an entry does not run. If the error is transient the API is pending and retried with back-off, otherwise it is
// rejected. It reports whether state or reason have changed.
func (q *Queue[B]) Reject(entry *Entry[B], err error, now time.Time) (changed bool) {
	state := nodev1.ApiStatus_STATE_REJECTED
	entry.retryAt = time.Time{}
	if transient.Is(err) {
		state, entry.retryAt = nodev1.ApiStatus_STATE_PENDING, now.Add(q.retry.Wait(entry.tries))
	}
	entry.tries++
	reason := strings.ToValidUTF8(err.Error(), "�")
	if reason == entry.reason && state == entry.state {
		return false
	}
	entry.state, entry.reason, entry.unresolved = state, reason, unresolvedName(err)
	return true
}

// NextRetry returns how long to wait for the earliest retry.
func (q *Queue[B]) NextRetry(now time.Time) time.Duration {
	next := time.Hour
	for _, entry := range q.entries {
		if entry.waits() {
			next = min(next, max(0, entry.retryAt.Sub(now)))
		}
	}
	return next
}

// Due returns the entries whose retry is due, sorted by API.
func (q *Queue[B]) Due(now time.Time) (due []*Entry[B]) {
	for _, entry := range q.sorted() {
		if entry.waits() && !entry.retryAt.After(now) {
			due = append(due, entry)
		}
	}
	return due
}

// RetryAll makes all entries due, whatever the reason: what builds depend on has changed.
func (q *Queue[B]) RetryAll(now time.Time) {
	for _, entry := range q.entries {
		entry.renewed = entry.Building()
		if entry.Message.GetUnserved() == "" && !entry.Building() {
			entry.tries, entry.retryAt = 0, now
		}
	}
}

// RetryPending makes the entries due that wait for a retry.
func (q *Queue[B]) RetryPending(now time.Time) {
	for _, entry := range q.entries {
		if entry.waits() {
			entry.retryAt = now
		}
	}
}

// Fallbacks returns the bundles that answer for the APIs. isCovered reports whether a running version of an API answers in a
// context.
func (q *Queue[B]) Fallbacks(isCovered func(api, context string) bool) (bundles []*xds.Bundle) {
	for _, entry := range q.sorted() {
		if entry.fallback != nil && !isCovered(entry.Message.GetApi(), entry.fallback.Context) {
			bundles = append(bundles, entry.fallback)
		}
	}
	return bundles
}

// Unserved returns the APIs in the form that is stored, except those that are stored in another form: they are answered 503 after
// a restart as well.
func (q *Queue[B]) Unserved(isStored func(api string) bool) (bundles []*nodev1.ApiBundle) {
	for _, entry := range q.sorted() {
		message := entry.Message
		if entry.fallback == nil || isStored(message.GetApi()) {
			continue
		}
		obstacle := entry.Obstacle()
		bundles = append(bundles, &nodev1.ApiBundle{Api: message.GetApi(), Hosts: message.GetHosts(), Listeners: message.GetListeners(), AttachedTo: message.GetAttachedTo(), Context: message.GetContext(),
			Unserved: cmp.Or(obstacle.Reason, "it was being built"), Unresolved: obstacle.Unresolved})
	}
	return bundles
}

// Obstacles returns why the newest version of each API does not run.
func (q *Queue[B]) Obstacles() map[string]Obstacle {
	obstacles := make(map[string]Obstacle, len(q.entries))
	for api, entry := range q.entries {
		obstacles[api] = entry.Obstacle()
	}
	return obstacles
}

// Secrets returns the secrets that the bundles name.
func (q *Queue[B]) Secrets() (names []secrets.Ref) {
	for _, entry := range q.entries {
		names = append(names, entry.secrets...)
	}
	return names
}

func (q *Queue[B]) sorted() []*Entry[B] {
	entries := make([]*Entry[B], 0, len(q.entries))
	for _, api := range slices.Sorted(maps.Keys(q.entries)) {
		entries = append(entries, q.entries[api])
	}
	return entries
}
