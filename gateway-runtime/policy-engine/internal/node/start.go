package node

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
)

const noStateYet = "it has no state yet, and waits for its controller"

// start is the time from the start of a node without a state until it serves every API that it was sent. In a rolling upgrade, a
// controller of the release before may not have the policies of the node's build: the node waits for one that has.
type start struct {
	over bool
	due  time.Time // when it is over, whatever is not served; zero: the node has no state yet
}

// followStart looks whether the start is over, and publishes why it is not.
func (n *Node) followStart(now time.Time) {
	if n.start.over || !n.snapshot.Load().hasState {
		return
	}
	if n.start.due.IsZero() {
		n.start.due = now.Add(n.timing.Start)
	}
	waiting := n.unservedSinceStart()
	switch {
	case len(waiting) == 0 && !n.inbox.HasUpdate():
		n.start.over = true
	case !now.Before(n.start.due):
		n.start.over = true
		n.log.Warn("the node is ready without APIs that it was sent", "apis", slices.Sorted(maps.Keys(waiting)))
	}
	reason := ""
	if !n.start.over {
		reason = startReason(waiting)
	}
	n.updateSnapshot(func(s *snapshot) { s.starting = reason })
}

// unservedSinceStart returns the APIs of which Envoy serves no version, with the reasons. It leaves out those that this node has
// rejected: they would not run however long it waits, and would delay each new node.
func (n *Node) unservedSinceStart() map[string]string {
	waiting := map[string]string{}
	for api, obstacle := range n.queue.Obstacles() {
		if n.running[api] == nil && n.queue.Get(api).State() != nodev1.ApiStatus_STATE_REJECTED {
			waiting[api] = cmp.Or(obstacle.Reason, "it is being built")
		}
	}
	for api, v := range n.running {
		if v.lastGood() == nil {
			waiting[api] = "Envoy has not acknowledged it yet"
		}
	}
	return waiting
}

// startReason is the sentence of /ready.
func startReason(waiting map[string]string) string {
	if len(waiting) == 0 {
		return "more APIs have arrived"
	}
	apis := slices.Sorted(maps.Keys(waiting))
	others := ""
	if len(apis) > 1 {
		others = fmt.Sprintf(" and %d more", len(apis)-1)
	}
	return fmt.Sprintf("it has started, and does not serve the API %s%s yet: %s", apis[0], others, waiting[apis[0]])
}
