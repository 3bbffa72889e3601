package pythonbridge

import (
	"slices"
	"sync/atomic"
	"time"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/sdk/policy/v1alpha"
)

type placementState int32

// In this order a group prefers them.
const (
	stateReady      placementState = iota
	stateConfigured                // configure was sent, no answer yet
	stateWaiting                   // configure is still to be sent, or there is no stream
	stateFailed
	stateClosed
)

// maxStreamsLost while an instance was being configured make the instance the likely cause.
const maxStreamsLost = 2

// placement is how an instance stands with one process. The mutex of its StreamManager guards it; only `state` is also
// read without it.
type placement struct {
	instance    *instance
	home        *StreamManager
	state       atomic.Int32
	number      uint32           // on the present stream
	failure     *v1alpha.Failure // why it is not ready; kept until it is
	retryAt     time.Time        // when a failed one is configured again
	tries       int              // to configure it that have failed in a row
	answered    bool             // it was ready or failed at least once
	streamsLost int              // while it was asked for and had never answered
	parked      fifo             // executions that wait for it to be ready
	abandonedAt time.Time        // when an execution was last abandoned that may still run
}

func (p *placement) become(state placementState) { p.state.Store(int32(state)) }

// advance is a step on the way to ready. One that failed stays failed until then.
func (p *placement) advance(state placementState) {
	if p.failure == nil {
		p.become(state)
	}
}

func (p *placement) is(state placementState) bool { return placementState(p.state.Load()) == state }

// unavailable is what an execution is told while its instance is not ready: it was, or there would be no route to it, and
// is configured again, so that another try may do better.
func (p *placement) unavailable() *v1alpha.Failure {
	return v1alpha.Failf(v1alpha.ClassUnavailable, "%s is not ready, and is tried again: %s", p.instance, p.failure.Error())
}

// markReady notes that the process has configured the instance.
func (p *placement) markReady() {
	p.failure, p.tries = nil, 0
	p.become(stateReady)
}

// markFailed notes why the process could not configure the instance, and when it is to try again.
func (p *placement) markFailed(failure *v1alpha.Failure, retryAt time.Time) {
	p.failure, p.retryAt = failure, retryAt
	p.tries++
	p.become(stateFailed)
}

// markStreamLost notes that nothing is configured any more.
func (p *placement) markStreamLost() {
	if p.is(stateConfigured) && !p.answered {
		p.streamsLost++
	}
	p.failure, p.tries, p.abandonedAt = nil, 0, time.Time{}
	p.become(stateWaiting)
}

// message is the configuration as it travels on the present stream.
func (p *placement) message() *executorv1.ConfigureInstance {
	c := p.instance.configure
	return &executorv1.ConfigureInstance{
		Instance: p.number, PolicyName: c.PolicyName, PolicyVersion: c.PolicyVersion, Parameters: c.Parameters,
		SystemParameters: c.SystemParameters, ApiName: c.ApiName, ApiVersion: c.ApiVersion,
		MaxConcurrency: c.MaxConcurrency, PrepareTimeoutMs: c.PrepareTimeoutMs, InstanceId: c.InstanceId,
		Operation: c.Operation,
	}
}

// placementStatus is how an instance stands with a process.
type placementStatus struct {
	connected, ready bool
	failure          *v1alpha.Failure // why it is not ready, if that is known
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

// placements is every instance that is live in one process, and how far it is configured on the present stream. The mutex
// of the process's StreamManager guards it.
type placements struct {
	live         []*placement          // that are not closed
	byNumber     map[uint32]*placement // of the present stream
	unconfigured []*placement          // to be configured by the next frames
	closed       []uint32              // numbers that the next frame closes
	lastNumber   uint32
}

func newPlacements() placements { return placements{byNumber: map[uint32]*placement{}} }

func (ps *placements) add(p *placement) { ps.live = append(ps.live, p) }

// remove closes a placement, and reports whether the process is to be told.
func (ps *placements) remove(p *placement) (toSend bool) {
	ps.live = deleteFirst(ps.live, p)
	p.become(stateClosed)
	return ps.unnumber(p)
}

// number gives a placement a number of the present stream, under which the next frames configure it.
func (ps *placements) number(p *placement) {
	ps.lastNumber++
	p.number = ps.lastNumber
	p.advance(stateWaiting)
	ps.byNumber[p.number] = p
	ps.unconfigured = append(ps.unconfigured, p)
}

// numberAll starts a new stream: all that is live is to be configured.
func (ps *placements) numberAll() {
	for _, p := range ps.live {
		ps.number(p)
	}
}

// unnumber takes a placement's number back, and reports whether the process is to be told.
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

// reset ends a stream: no number of it means anything any more.
func (ps *placements) reset() {
	clear(ps.byNumber)
	ps.unconfigured, ps.closed = nil, nil
	for _, p := range ps.live {
		p.markStreamLost()
	}
}

// renumberFailed has the placements configured again, under new numbers, that failed a while ago, and reports whether
// there are any. They are unavailable until they are ready. One that does not answer is tried again after limit, and
// what its prepare may take.
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

// fillFrame adds what is to be configured and closed, and returns the size of that, about.
func (ps *placements) fillFrame(frame *executorv1.RequestFrame) (size int) {
	frame.Close, ps.closed = ps.closed, nil
	for len(ps.unconfigured) > 0 && size < maxFrameBytes {
		p := ps.unconfigured[0]
		ps.unconfigured = ps.unconfigured[1:]
		p.advance(stateConfigured)
		message := p.message()
		size += len(message.Parameters) + len(message.SystemParameters) + 128
		frame.Configure = append(frame.Configure, message)
	}
	return size
}

// progress is how far all are configured. limit is what an instance without a prepare timeout may take.
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
	limit       time.Duration // what the slowest may take
}

// pending is how many have neither become ready nor failed.
func (at configureProgress) pending() int { return at.live - at.ready - len(at.failed) }

func deleteFirst(from []*placement, p *placement) []*placement {
	if at := slices.Index(from, p); at >= 0 {
		return slices.Delete(from, at, at+1)
	}
	return from
}
