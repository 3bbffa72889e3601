package node

import (
	"maps"
	"slices"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
)

// statuses are those of APIs, by API.
type statuses map[string]*nodev1.ApiStatus

// checkReadiness finds the running APIs with a policy instance that is no longer ready anywhere: for example, its executors were
// replaced, and the server that its preparation calls is down. Such an API is pending until the instance is ready.
func (n *Node) checkReadiness() {
	failing := n.chains.failing()
	if len(failing) == 0 && len(n.notReady) == 0 {
		return
	}
	outcomes := outcomes{}
	n.notReady = notReady(n.running, n.notReady, func(v *version) string {
		return readinessReason(v.chains, failing)
	}, outcomes)
	n.updateSnapshot(func(s *snapshot) { s.notReady = n.notReady.report(s.revision) })
	n.reporter.report(outcomes)
}

// notReady returns the statuses of the versions that are not ready. It adds to outcomes what differs from the statuses before.
func notReady(versions running, before statuses, reasonOf func(*version) string, outcomes outcomes) statuses {
	now := statuses{}
	for _, api := range slices.Sorted(maps.Keys(versions)) {
		v, previous := versions[api], before[api]
		reason := reasonOf(v)
		switch {
		case reason != "":
			now[api] = &nodev1.ApiStatus{Api: api, Digest: v.bundle.Digest, State: nodev1.ApiStatus_STATE_PENDING, Reason: reason}
			if previous.GetDigest() != v.bundle.Digest || previous.GetReason() != reason {
				outcomes.of(v.revision).add(api, v.bundle.Digest, nodev1.ApiStatus_STATE_PENDING, reason)
			}
		case previous.GetDigest() == v.bundle.Digest && v.acknowledged:
			outcomes.of(v.revision).applied(api, v.bundle.Digest)
		}
	}
	return now
}

// report returns the report of APIs that are not ready, for the controller that connects next, since the hello lacks it; nil: all
// are ready.
func (s statuses) report(revision uint64) *nodev1.Report {
	if len(s) == 0 {
		return nil
	}
	report := &nodev1.Report{Revision: revision}
	for _, api := range slices.Sorted(maps.Keys(s)) {
		report.Apis = append(report.Apis, s[api])
	}
	return report
}

// failing returns the reasons of the instances that cannot be executed now, by instance id.
func (c *chains) failing() map[string]error {
	var reasons map[string]error
	for id, ref := range c.instances {
		if err := ref.built.notReadyReason(); err != nil {
			if reasons == nil {
				reasons = map[string]error{}
			}
			reasons[id] = err
		}
	}
	return reasons
}

// readinessReason returns why the instances of chains cannot be executed; empty if all of them can.
func readinessReason(refs []*chainRef, failures map[string]error) string {
	if len(failures) == 0 {
		return ""
	}
	var wrong buildErrors
	for _, ref := range refs {
		var errs []error
		for _, instance := range ref.chain.Instances() {
			if err := failures[instance.ID()]; err != nil {
				errs = append(errs, err)
			}
		}
		wrong.add(ref.chain.Operation(), errs)
	}
	if err := wrong.err(); err != nil {
		return err.Error()
	}
	return ""
}
