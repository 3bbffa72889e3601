package node

import (
	"maps"
	"slices"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
)

// examine looks which of the APIs that run have a policy instance that is ready nowhere any more: the executors that had
// it were replaced, say, and the server that its preparation asks is away. Such an API is pending until it is ready.
func (n *Node) examine() {
	failing := n.chains.failing()
	if len(failing) == 0 && len(n.ailing) == 0 {
		return
	}
	ailing, outcomes := map[string]*nodev1.ApiStatus{}, outcomes{}
	for _, api := range slices.Sorted(maps.Keys(n.running)) {
		v := n.running[api]
		before := n.ailing[api]
		now := ails(v.message, failing)
		switch {
		case now != "":
			ailing[api] = &nodev1.ApiStatus{Api: api, Digest: v.message.GetDigest(), State: nodev1.ApiStatus_STATE_PENDING, Reason: now}
			if before.GetDigest() != v.message.GetDigest() || before.GetReason() != now {
				outcomes.of(v.revision).add(v.message, nodev1.ApiStatus_STATE_PENDING, now)
			}
		case before.GetDigest() == v.message.GetDigest() && v.acknowledged:
			outcomes.of(v.revision).applied(v.message)
		}
	}
	n.ailing = ailing
	n.publishAiling()
	for _, revision := range slices.Sorted(maps.Keys(outcomes)) {
		n.report(outcomes[revision])
	}
}

// failing are the instances that cannot be executed now, by id, each with the reason.
func (c *chains) failing() map[string]error {
	var found map[string]error
	for id, held := range c.instances {
		if err := held.made.fails(); err != nil {
			if found == nil {
				found = map[string]error{}
			}
			found[id] = err
		}
	}
	return found
}

// ails says what is wrong with a bundle that needs instances which fail; empty where it needs none.
func ails(message *nodev1.ApiBundle, failing map[string]error) string {
	if len(failing) == 0 {
		return ""
	}
	var wrong complaints
	for _, chain := range message.GetChains() {
		var errs []error
		for _, attachment := range chain.GetAttachments() {
			if err := failing[attachment.GetInstance()]; err != nil {
				errs = append(errs, err)
			}
		}
		wrong.add(chain.GetOperation(), errs)
	}
	if err := wrong.err(); err != nil {
		return err.Error()
	}
	return ""
}

// publishAiling says what is wrong with what runs, for the controller that connects next: the hello does not.
func (n *Node) publishAiling() {
	if len(n.ailing) == 0 {
		n.ill.Store(nil)
		return
	}
	report := &nodev1.Report{Revision: n.stats.revision.Load()}
	for _, api := range slices.Sorted(maps.Keys(n.ailing)) {
		report.Apis = append(report.Apis, n.ailing[api])
	}
	n.ill.Store(report)
}
