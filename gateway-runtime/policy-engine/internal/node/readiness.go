package node

import (
	"maps"
	"slices"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
)

// checkReadiness looks which of the APIs that run have a policy instance that is ready nowhere any more: the executors that had
// it were replaced, say, and the server that its preparation asks is away. Such an API is pending until it is ready.
func (n *Node) checkReadiness() {
	failing := n.chains.failing()
	if len(failing) == 0 && len(n.notReady) == 0 {
		return
	}
	notReady, outcomes := map[string]*nodev1.ApiStatus{}, outcomes{}
	for _, api := range slices.Sorted(maps.Keys(n.running)) {
		v := n.running[api]
		before := n.notReady[api]
		now := readinessReason(v.message, n.chains.refs, failing)
		switch {
		case now != "":
			notReady[api] = &nodev1.ApiStatus{Api: api, Digest: v.message.GetDigest(), State: nodev1.ApiStatus_STATE_PENDING, Reason: now}
			if before.GetDigest() != v.message.GetDigest() || before.GetReason() != now {
				outcomes.of(v.revision).add(v.message, nodev1.ApiStatus_STATE_PENDING, now)
			}
		case before.GetDigest() == v.message.GetDigest() && v.acknowledged:
			outcomes.of(v.revision).applied(v.message)
		}
	}
	n.notReady = notReady
	n.publishNotReady()
	for _, revision := range slices.Sorted(maps.Keys(outcomes)) {
		n.report(outcomes[revision])
	}
}

// failing are the instances that cannot be executed now, by id, each with the reason.
func (c *chains) failing() map[string]error {
	var found map[string]error
	for id, ref := range c.instances {
		if err := ref.made.notReadyReason(); err != nil {
			if found == nil {
				found = map[string]error{}
			}
			found[id] = err
		}
	}
	return found
}

// readinessReason says what is wrong with a bundle that needs instances which fail; empty where it needs none.
func readinessReason(message *nodev1.ApiBundle, refs map[string]*chainRef, failing map[string]error) string {
	if len(failing) == 0 {
		return ""
	}
	var wrong buildErrors
	for _, chain := range message.GetChains() {
		var errs []error
		if ref := refs[chain.GetId()]; ref != nil {
			for _, instance := range ref.instances {
				if err := failing[instance]; err != nil {
					errs = append(errs, err)
				}
			}
		}
		wrong.add(chain.GetOperation(), errs)
	}
	if err := wrong.err(); err != nil {
		return err.Error()
	}
	return ""
}

// publishNotReady says what is wrong with what runs, for the controller that connects next: the hello does not.
func (n *Node) publishNotReady() {
	if len(n.notReady) == 0 {
		n.notReadyReport.Store(nil)
		return
	}
	report := &nodev1.Report{Revision: n.stats.revision.Load()}
	for _, api := range slices.Sorted(maps.Keys(n.notReady)) {
		report.Apis = append(report.Apis, n.notReady[api])
	}
	n.notReadyReport.Store(report)
}
