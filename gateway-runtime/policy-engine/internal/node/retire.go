package node

import (
	"context"
	"errors"
	"slices"
	"time"

	"gatewright.dev/policy-engine/internal/xds"
)

// retired is a version that receives no new request. Its clusters stay until the last exchange in its chains is over: a
// request held in a chain still needs the cluster that its route names.
type retired struct {
	clusters xds.Resources
	waits    []departure
	until    time.Time // the earliest time of its removal
}

// retire releases a version's chains. Chains that the next version shares never leave the table, so their exchanges
// get Timing.Held to end.
func (n *Node) retire(old *version) {
	leaving := n.chains.release(old.message)
	wait := n.timing.Grace
	if len(leaving) < len(old.message.GetChains()) {
		wait += n.timing.Held
	}
	n.retired = append(n.retired, &retired{clusters: old.bundle.Clusters, waits: leaving, until: time.Now().Add(wait)})
}

// sweepRetired removes the clusters that no version or exchange needs any more, and returns when to sweep again.
func (n *Node) sweepRetired(ctx context.Context) time.Duration {
	now, next := time.Now(), time.Hour
	count := len(n.retired)
	n.retired = slices.DeleteFunc(n.retired, func(old *retired) bool {
		n.dropDepartures(old, now)
		if wait := old.until.Sub(now); len(old.waits) == 0 && wait > 0 {
			next = min(next, wait)
		}
		return len(old.waits) == 0 && !old.until.After(now)
	})
	if len(n.retired) < count {
		n.dropClusters(ctx)
	}
	return next
}

// dropDepartures removes departures that have happened, and those that a newer version has undone.
func (n *Node) dropDepartures(old *retired, now time.Time) {
	old.waits = slices.DeleteFunc(old.waits, func(d departure) bool {
		ref := n.chains.refs[d.chain]
		if ref == nil {
			return true
		}
		if ref.retirement == d.retirement {
			return false
		}
		old.until = now.Add(n.timing.Grace + n.timing.Held)
		return true
	})
}

func (n *Node) dropClusters(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, n.timing.Acknowledge)
	defer cancel()
	if err := n.options.Envoy.SetClusters(ctx, n.clusters(n.running, n.running)); err != nil && !errors.Is(err, xds.ErrNoEnvoy) {
		n.log.Warn("Envoy has not acknowledged the removal of old clusters", "error", err.Error())
	}
}
