package node

import (
	"maps"
	"slices"
	"time"

	"gatewright.dev/policy-engine/internal/xds"
)

// retirements are versions that exchanges may still be in. Their clusters stay until the last exchange in their chains is over: a
// request held in a chain still needs the cluster that its route names.
type retirements struct {
	grace time.Duration // from a chain's last exchange to its end
	held  time.Duration // how long an exchange may stay in a chain that an update does not change
	list  []*retired
}

type retired struct {
	resources xds.Resources // the version's clusters
	waits     []departure
	until     time.Time // the earliest time of its removal
}

// add adds a version whose chains have been released. Chains that the next version shares never leave the table, so their
// exchanges get the time held to end.
func (r *retirements) add(old *version, leaving []departure, now time.Time) {
	wait := r.grace
	if len(leaving) < len(old.chains) {
		wait += r.held
	}
	r.list = append(r.list, &retired{resources: old.bundle.Clusters, waits: leaving, until: now.Add(wait)})
}

// sweep drops the versions that no exchange is in any more. It returns whether there were any, and when to sweep again.
func (r *retirements) sweep(progressOf func(departure) progress, now time.Time) (dropped bool, next time.Duration) {
	count := len(r.list)
	next = time.Hour
	r.list = slices.DeleteFunc(r.list, func(old *retired) bool {
		r.dropDepartures(old, progressOf, now)
		if wait := old.until.Sub(now); len(old.waits) == 0 && wait > 0 {
			next = min(next, wait)
		}
		return len(old.waits) == 0 && !old.until.After(now)
	})
	return len(r.list) < count, next
}

// dropDepartures removes departures that have happened, and those that a newer version has undone.
func (r *retirements) dropDepartures(old *retired, progressOf func(departure) progress, now time.Time) {
	old.waits = slices.DeleteFunc(old.waits, func(d departure) bool {
		switch progressOf(d) {
		case departed:
			return true
		case undone:
			old.until = now.Add(r.grace + r.held)
			return true
		default:
			return false
		}
	})
}

// clusters returns the clusters of all of the versions.
func (r *retirements) clusters() xds.Resources {
	clusters := xds.Resources{}
	for _, old := range r.list {
		maps.Copy(clusters, old.resources)
	}
	return clusters
}
