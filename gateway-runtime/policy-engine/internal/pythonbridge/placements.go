package pythonbridge

import (
	"slices"
	"sync/atomic"
	"time"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/sdk/policy/v1alpha"
)

type placementState int32

// The states, in the order in which a group prefers them.
const (
	stateReady      placementState = iota
	stateConfigured                // configure was sent, no answer yet
	stateWaiting                   // configure is still to be sent, or there is no stream
	stateFailed
	stateClosed
)

// maxStreamsLost is the number of streams lost during an instance's configuration that makes it the likely cause.
const maxStreamsLost = 2

// placement is an instance's state in one process. The mutex of its StreamManager guards it; only `state` is also read
// without it.
type placement struct {
	instance    *instance
	home        *StreamManager
	state       atomic.Int32
	number      uint32           // on the present stream
	failure     *v1alpha.Failure // why it is not ready; kept until it is
	retryAt     time.Time        // when a failed one is configured again
	tries       int              // to configure it that have failed in a row
	answered    bool             // the process has reported it ready or failed at least once
	streamsLost int              // streams lost while it was being configured, without an answer
	parked      fifo             // executions that wait until it is ready
	abandonedAt time.Time        // when an execution that may still run was last abandoned
}

func (p *placement) setState(state placementState) { p.state.Store(int32(state)) }

// setUnlessFailed sets a state on the way to ready. A failed placement stays failed until it is ready.
func (p *placement) setUnlessFailed(state placementState) {
	if p.failure == nil {
		p.setState(state)
	}
}

func (p *placement) is(state placementState) bool { return placementState(p.state.Load()) == state }

// unavailable is the failure of an execution whose instance is not ready: it was ready before, or there would be no
// route to it, and is being configured again, so that a retry may succeed.
func (p *placement) unavailable() *v1alpha.Failure {
	return v1alpha.Failf(v1alpha.ClassUnavailable, "%s is not ready, and is tried again: %s", p.instance, p.failure.Error())
}

// markReady records that the process has configured the instance.
func (p *placement) markReady() {
	p.failure, p.tries = nil, 0
	p.setState(stateReady)
}

// markFailed records why the process could not configure the instance, and when to try again.
func (p *placement) markFailed(failure *v1alpha.Failure, retryAt time.Time) {
	p.failure, p.retryAt = failure, retryAt
	p.tries++
	p.setState(stateFailed)
}

// markStreamLost records that the process has lost all configuration.
func (p *placement) markStreamLost() {
	if p.is(stateConfigured) && !p.answered {
		p.streamsLost++
	}
	p.failure, p.tries, p.abandonedAt = nil, 0, time.Time{}
	p.setState(stateWaiting)
}

// message is the configuration for the present stream.
func (p *placement) message() *executorv1.ConfigureInstance {
	c := p.instance.configure
	return &executorv1.ConfigureInstance{
		Instance: p.number, PolicyName: c.PolicyName, PolicyVersion: c.PolicyVersion, Parameters: c.Parameters,
		SystemParameters: c.SystemParameters, ApiName: c.ApiName, ApiVersion: c.ApiVersion,
		MaxConcurrency: c.MaxConcurrency, PrepareTimeoutMs: c.PrepareTimeoutMs, InstanceId: c.InstanceId,
		Operation: c.Operation,
	}
}

// placementStatus is an instance's state in a process, as others see it.
type placementStatus struct {
	connected, ready bool
	failure          *v1alpha.Failure // why it is not ready, if known
}

// status may be called without the mutex.
func (p *placement) status() placementStatus {
	m := p.home
	m.mu.Lock()
	defer m.mu.Unlock()
	failure := p.failure
	if p.streamsLost >= maxStreamsLost {
		failure = v1alpha.Failf(v1alpha.ClassCrashed, "the executor process at %s was lost %d times while it configured %s",
			m.address, p.streamsLost, p.instance)
	}
	return placementStatus{connected: m.connected.Load(), ready: p.is(stateReady), failure: failure}
}

// placements are all instances that are live in one process, and their configuration on the present stream. The mutex
// of the process's StreamManager guards them.
type placements struct {
	live         []*placement          // not closed
	byNumber     map[uint32]*placement // of the present stream
	unconfigured []*placement          // to be configured by the next frames
	closed       []uint32              // numbers that the next frame closes
	lastNumber   uint32
}

func newPlacements() placements { return placements{byNumber: map[uint32]*placement{}} }

func (ps *placements) add(p *placement) { ps.live = append(ps.live, p) }

// remove closes a placement, and reports whether the process must be sent that.
func (ps *placements) remove(p *placement) (toSend bool) {
	ps.live = deleteFirst(ps.live, p)
	p.setState(stateClosed)
	return ps.unnumber(p)
}

// number gives a placement a number on the present stream, under which the next frames configure it.
func (ps *placements) number(p *placement) {
	ps.lastNumber++
	p.number = ps.lastNumber
	p.setUnlessFailed(stateWaiting)
	ps.byNumber[p.number] = p
	ps.unconfigured = append(ps.unconfigured, p)
}

// numberAll starts a new stream: all live placements are to be configured.
func (ps *placements) numberAll() {
	for _, p := range ps.live {
		ps.number(p)
	}
}

// unnumber removes a placement's number, and reports whether the process must be sent that.
func (ps *placements) unnumber(p *placement) (toSend bool) {
	if ps.byNumber[p.number] != p {
		return false
	}
	delete(ps.byNumber, p.number)
	if slices.Contains(ps.unconfigured, p) {
		ps.unconfigured = deleteFirst(ps.unconfigured, p)
		return false
	}
	ps.closed = append(ps.closed, p.number)
	return true
}

// reset ends a stream, and with it the numbers given on it.
func (ps *placements) reset() {
	clear(ps.byNumber)
	ps.unconfigured, ps.closed = nil, nil
	for _, p := range ps.live {
		p.markStreamLost()
	}
}

// renumberFailed configures placements that failed a while ago again, under new numbers, and reports whether there are
// any. They stay unavailable until they are ready. One that does not answer is tried again after limit, plus the
// timeout of its prepare.
func (ps *placements) renumberFailed(now time.Time, limit time.Duration) (any bool) {
	for _, p := range ps.live {
		if p.is(stateFailed) && now.After(p.retryAt) {
			p.retryAt = now.Add(p.instance.configureTimeout(limit))
			ps.unnumber(p)
			ps.number(p)
			any = true
		}
	}
	return any
}

// fillFrame adds configurations and closed numbers, and returns their approximate size.
func (ps *placements) fillFrame(frame *executorv1.RequestFrame) (size int) {
	frame.Close, ps.closed = ps.closed, nil
	for len(ps.unconfigured) > 0 && size < maxFrameBytes {
		p := ps.unconfigured[0]
		ps.unconfigured = ps.unconfigured[1:]
		p.setUnlessFailed(stateConfigured)
		message := p.message()
		size += len(message.Parameters) + len(message.SystemParameters) + 128
		frame.Configure = append(frame.Configure, message)
	}
	return size
}

// progress counts the configured instances. limit is for an instance without a prepare timeout.
func (ps *placements) progress(limit time.Duration) configureProgress {
	at := configureProgress{live: len(ps.live), limit: limit, failed: map[*instance]*v1alpha.Failure{}}
	for _, p := range ps.live {
		at.limit = max(at.limit, p.instance.configureTimeout(limit))
		switch {
		case p.is(stateReady):
			at.ready++
		case p.failure != nil:
			at.failed[p.instance] = p.failure
		}
	}
	return at
}

// configureProgress counts the placements of a process.
type configureProgress struct {
	live, ready int
	failed      map[*instance]*v1alpha.Failure
	limit       time.Duration // for the slowest
}

// pending is the number of instances that are neither ready nor failed.
func (at configureProgress) pending() int { return at.live - at.ready - len(at.failed) }

func deleteFirst(from []*placement, p *placement) []*placement {
	if at := slices.Index(from, p); at >= 0 {
		return slices.Delete(from, at, at+1)
	}
	return from
}
