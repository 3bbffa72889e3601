package node

import (
	"time"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
)

const unrestoredMessage = "an API of the last good state cannot be served"

// unrestored are the APIs of the last good state that did not come up on restore. The controller mostly replaces them at
// once: after a patch release of a policy the build no longer has the version that they name.
type unrestored struct {
	statuses []*nodev1.ApiStatus
	due      time.Time // APIs that are served by then are not reported
}

// logUnrestored logs them: without a controller at once, otherwise if the controller does not replace them in time.
func (n *Node) logUnrestored(statuses []*nodev1.ApiStatus) {
	if n.options.Controller != "" {
		n.unrestored = unrestored{statuses, time.Now().Add(n.timing.Replace)}
	}
	for _, status := range statuses {
		if n.options.Controller == "" {
			n.log.Error(unrestoredMessage, "api", status.GetApi(), "reason", status.GetReason())
		} else {
			n.log.Info("an API of the last good state waits for the controller", "api", status.GetApi(), "reason", status.GetReason())
		}
	}
}

// expireUnrestored logs the APIs of the last good state that are still not served. An API that another version has replaced is
// reported with that version.
func (n *Node) expireUnrestored(now time.Time) {
	if len(n.unrestored.statuses) == 0 || now.Before(n.unrestored.due) {
		return
	}
	for _, status := range n.unrestored.statuses {
		api := status.GetApi()
		q := n.queue.Get(api)
		if n.running[api] == nil && n.unserved[api] != nil && (q == nil || q.Message == n.unserved[api]) {
			n.log.Error(unrestoredMessage, "api", api, "reason", status.GetReason())
		}
	}
	n.unrestored.statuses = nil
}
