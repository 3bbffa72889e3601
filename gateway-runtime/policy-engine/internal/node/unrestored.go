package node

import (
	"log/slog"
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

// newUnrestored logs the APIs: without a controller at once, otherwise once they are due, if the controller does not replace
// them in time.
func newUnrestored(statuses []*nodev1.ApiStatus, hasController bool, due time.Time, log *slog.Logger) unrestored {
	for _, status := range statuses {
		if hasController {
			log.Info("an API of the last good state waits for the controller", "api", status.GetApi(), "reason", status.GetReason())
		} else {
			log.Error(unrestoredMessage, "api", status.GetApi(), "reason", status.GetReason())
		}
	}
	if !hasController {
		return unrestored{}
	}
	return unrestored{statuses, due}
}

// expire logs the APIs that are still not served, once they are due. An API that another version has replaced is reported with that
// version.
func (u *unrestored) expire(now time.Time, isDown func(api string) bool, log *slog.Logger) {
	if len(u.statuses) == 0 || now.Before(u.due) {
		return
	}
	for _, status := range u.statuses {
		if isDown(status.GetApi()) {
			log.Error(unrestoredMessage, "api", status.GetApi(), "reason", status.GetReason())
		}
	}
	u.statuses = nil
}
