package pythonbridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/policy-engine/internal/backoff"
	"gatewright.dev/policy-engine/internal/policymetrics"
	"gatewright.dev/policy-engine/internal/quarantine"
	"gatewright.dev/sdk/policy/v1alpha"
)

// StreamManager owns the one stream to one executor process: the executions that wait, those that were sent and not
// answered, and the contents of the next frame. It does no I/O; a session moves the frames.
//
// The life of a stream: run makes one session after another. Each checks the process's health, opens a stream, waits
// for its hello, and calls attach. Until the stream breaks, frames go both ways: fillFrame makes those that the session
// sends, accept handles those that it receives, and a healthMonitor checks the process. Then the session calls detach.
//
// The life of an execution: submit → queued (or parked, while its instance is being configured) → fillFrame → sent →
// accept. abandon and detach remove it from any of these. An execution with a streamed body (bodyStream) has pieces on
// the way meanwhile: offerChunk → fillFrame, and accept → nextEvent.
//
// Its state is in values of their own, all under its one mutex.
type StreamManager struct {
	address      string
	options      Options
	log          *slog.Logger
	owner        processOwner
	membership               // its role in the group, and the generations that it runs
	availability             // what a group reads without the mutex
	sender       frameSender // wakes a goroutine to send
	spans        spanReceiver
	stop         func() // ends run
	metrics      *policymetrics.Process

	mu               sync.Mutex
	stream           streamRecord
	credit           frameCredit
	placements       placements
	executions       executionQueue
	locations        locations
	pieces           pieceQueue
	calls            storeCalls
	health           healthReport
	held             *interpreterHold
	toReroute        []*execution // never started; unlock passes them to the owner
	instancesChanged bool         // unlock notifies the owner
}

// processOwner handles the consequences of a process's changes.
type processOwner interface {
	// reroute finds another process for an execution that was never started, or ends it.
	reroute(e *execution)
	// processChanged is called when a process, or an instance in one, became ready, failed, or was lost.
	processChanged()
	// processCrashed is called when a process has crashed, with the instances that had executions there. The mutex of the
	// process is held, and the executions have not ended yet.
	processCrashed(candidates []quarantine.Candidate)
	// processHeld is called when one of these instances holds the interpreter of a process, at FILE:LINE. It returns the
	// name of the one that is put under quarantine; "" for none. The mutex is held, as for processCrashed.
	processHeld(candidates []quarantine.Candidate, at string) (instance string)
}

// streamRecord is the state of the present stream, and the history of earlier ones.
type streamRecord struct {
	hello *executorv1.Hello // of the latest stream
	lost  error             // why the last one ended
	count uint64            // streams attached so far
}

// availability decides whether, and how readily, executions go to a process.
type availability struct {
	connected atomic.Bool  // hello was said on the present stream
	stopping  atomic.Bool  // the process has begun to stop: it takes no executions
	serving   atomic.Bool  // by its last health check; false: its shared event loop is blocked, so that async executions wait
	silent    atomic.Bool  // it did not answer its last health check
	load      atomic.Int64 // executions that wait or are sent
}

var errNotConnected = errors.New("the executor process is not connected")

func newStreamManager(address string, joined *generation, options Options, log *slog.Logger, owner processOwner) *StreamManager {
	m := &StreamManager{
		address: address, options: options, log: log, owner: owner, stop: func() {},
		credit: frameCredit{limit: uint64(options.CreditFrames)}, placements: newPlacements(), executions: newExecutionQueue(),
		locations: locations{},
	}
	m.sender.wakes = make(chan struct{}, 1)
	m.metrics = options.metrics.Join(joined.number)
	m.joined = joined
	m.last.Store(stillServing)
	return m
}

// usable reports whether executions may be given to this process.
func (m *StreamManager) usable() bool {
	return m.connected.Load() && !m.stopping.Load() && !m.is(roleJoining) && !m.is(roleGone)
}

// unlock ends a change: its consequences are handled outside of the mutex, since they may touch another StreamManager.
func (m *StreamManager) unlock() {
	m.load.Store(int64(m.executions.load()))
	toReroute, changed := m.toReroute, m.instancesChanged
	m.toReroute, m.instancesChanged = nil, false
	m.mu.Unlock()
	for _, e := range toReroute {
		m.owner.reroute(e)
	}
	if changed {
		m.owner.processChanged()
	}
}

// ---------------------------------------------------------------- the life of a stream

// run keeps a session up until ctx is done.
func (m *StreamManager) run(ctx context.Context) {
	reconnect := backoff.Doubling{First: m.options.BackoffMin, Longest: m.options.BackoffMax, Less: 0.5}
	logged := false
	for failures := 0; ; failures++ {
		started := time.Now()
		attached, err := runSession(ctx, m)
		if ctx.Err() != nil {
			return
		}
		if attached || !logged {
			reason := "no stream to the executor process"
			if attached {
				reason = describeLoss(err)
			}
			m.log.Warn(reason+"; connecting until there is one", "cause", err.Error())
		}
		logged = true
		if time.Since(started) > m.options.BackoffMax {
			failures = 0
		}
		if !backoff.Sleep(ctx, reconnect.Wait(failures)) {
			return
		}
	}
}

// attach starts a new stream: every live instance is configured again before any execution is sent.
func (m *StreamManager) attach(hello *executorv1.Hello) {
	m.mu.Lock()
	defer m.unlock()
	m.stream.hello = hello
	m.stream.count++
	m.credit.reset()
	m.calls = storeCalls{}
	m.placements.numberAll()
	m.connected.Store(true)
	m.instancesChanged = true
	m.sender.wake()
}

// detach ends the present stream. Executions that were sent have crashed; the others move to another process.
func (m *StreamManager) detach(cause error) {
	orderly := errors.Is(cause, errStreamEnded)
	m.mu.Lock()
	defer m.unlock()
	crashed := m.held.lostExecution(cause)
	m.connected.Store(false)
	m.metrics.Lost()
	m.stream.lost = cause
	if processEnded(cause) && m.held == nil {
		m.owner.processCrashed(m.crashCandidates(time.Now(), func(*instance) bool { return true }))
	}
	m.held = nil
	sent, waiting := m.executions.reset()
	for _, e := range sent {
		if orderly && !m.credit.hasRead(e.frame) && !e.body.hasBegun() {
			m.rerouteOnce(e, crashed)
		} else {
			e.finish(outcome{err: crashed})
		}
	}
	m.reroute(waiting...)
	for _, p := range m.placements.live {
		m.reroute(m.executions.removeAll(&p.parked)...)
	}
	m.placements.reset()
	m.pieces.reset()
	m.instancesChanged = true
}

// crashCandidates are the instances, among those that counts accepts, with executions under way, or with some that were
// abandoned a short while ago.
func (m *StreamManager) crashCandidates(now time.Time, counts func(*instance) bool) (all []quarantine.Candidate) {
	candidates := map[*instance]bool{}
	for _, e := range m.executions.sent {
		candidates[e.instance] = true
	}
	for _, p := range m.placements.live {
		if now.Sub(p.abandonedAt) < abandonedExecutionsCount {
			candidates[p.instance] = true
		}
	}
	maps.DeleteFunc(candidates, func(i *instance, _ bool) bool { return !counts(i) })
	for i := range candidates {
		all = append(all, quarantine.Candidate{ID: i.id, Answered: i.answered.Load(), Alone: len(candidates) == 1})
	}
	return all
}

// reroute releases executions that were not started, for another process to run.
func (m *StreamManager) reroute(all ...*execution) {
	for _, e := range all {
		e.home.Store(nil)
	}
	m.toReroute = append(m.toReroute, all...)
}

// rerouteOnce reroutes an execution that was sent and not started, unless another process did not start it either.
func (m *StreamManager) rerouteOnce(e *execution, failure *v1alpha.Failure) {
	if e.refusedBy != nil {
		e.finish(outcome{err: failure})
		return
	}
	e.refusedBy = m
	m.reroute(e)
}

// ---------------------------------------------------------------- executions and frames

// submit queues an execution at this process's placement of its instance, and has it sent. If the instance has failed
// or the queue is full, it returns a failure at once.
func (m *StreamManager) submit(e *execution, p *placement) error {
	if err := m.enqueue(e, p); err != nil {
		return err
	}
	m.sender.sendSoon()
	return nil
}

func (m *StreamManager) enqueue(e *execution, p *placement) error {
	m.mu.Lock()
	defer m.unlock()
	switch {
	case !m.usable():
		return errNotConnected
	case p.is(stateClosed):
		return failClosed
	case p.failure != nil:
		return p.unavailable()
	case m.executions.waiting >= m.options.QueueLength:
		return v1alpha.Failf(v1alpha.ClassOverloaded, "%d executions wait for the executor process at %s already; "+
			"start more executors, or lower the load", m.executions.waiting, m.address)
	}
	e.home.Store(m)
	m.executions.add(e, p)
	return nil
}

// abandon removes an execution that has ended for its waiter. If it was sent, the process gets a cancellation, and logs
// where a late one is. It returns whether the process will do so, which needs a process that answers.
func (m *StreamManager) abandon(e *execution, timedOut bool) (logged bool) {
	m.mu.Lock()
	defer m.unlock()
	if e.home.Load() != m || !m.executions.withdraw(e, timedOut) {
		return false // an execution that has moved is dropped by its new home when its turn comes
	}
	e.at.abandonedAt = time.Now()
	m.sender.wake()
	if !timedOut || m.silent.Load() {
		return false
	}
	e.location = m.locations.add(e.message.GetId())
	return true
}

// fillFrame fills frame with all that waits, up to the limits, and reports whether it is to be sent: it is not empty,
// and there is credit for it, or it has only results of the store, which need none. Executions in the frame count as
// sent.
func (m *StreamManager) fillFrame(frame *executorv1.RequestFrame, now time.Time) bool {
	clear(frame.Configure)
	clear(frame.Executions)
	clear(frame.Pieces)
	clear(frame.Credit)
	clear(frame.StoreResults)
	frame.Configure, frame.Executions = frame.Configure[:0], frame.Executions[:0] // keeps their capacity
	frame.Pieces, frame.Credit = frame.Pieces[:0], frame.Credit[:0]
	frame.StoreResults = frame.StoreResults[:0]
	frame.Cancel, frame.TimedOut, frame.Close = nil, nil, nil
	m.mu.Lock()
	defer m.unlock()
	if !m.connected.Load() {
		return false
	}
	size := 0
	if m.credit.available() {
		size = m.executions.fillFrame(frame, m.placements.fillFrame(frame), m.credit.next(), now)
		m.pieces.fillFrame(frame)
	}
	if size <= maxFrameBytes { // a larger frame may already be a whole message
		m.calls.fillFrame(frame)
	}
	if len(m.calls.results) > 0 {
		m.sender.wake() // an exchange's goroutine sends only one frame
	}
	if isEmpty(frame) {
		return false
	}
	m.credit.countSent()
	return true
}

func isEmpty(frame *executorv1.RequestFrame) bool {
	return len(frame.Configure)+len(frame.Executions)+len(frame.Pieces)+len(frame.Credit)+len(frame.Cancel)+len(frame.Close)+len(frame.StoreResults) == 0
}

// idle reports whether the process has acknowledged all frames that were sent.
func (m *StreamManager) idle() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.credit.idle()
}

// accept applies one reply frame. An error is a violation of the protocol, after which the stream must end.
func (m *StreamManager) accept(frame *executorv1.ReplyFrame) error {
	m.mu.Lock()
	defer m.unlock()
	if frame.GetHello() != nil {
		return errors.New("expected hello in the first reply frame only, got another one")
	}
	more, err := m.credit.acknowledge(frame.GetFramesAcknowledged())
	if err != nil {
		return err
	}
	if more {
		m.sender.wake()
	}
	if err := m.acceptPieces(frame); err != nil {
		return err
	}
	for _, action := range frame.GetActions() {
		m.acceptAction(action)
	}
	m.startAcknowledged()
	m.acceptStoreCalls(frame.GetStoreCalls())
	m.locations.accept(frame.GetLocated())
	for _, instance := range frame.GetInstances() {
		m.acceptInstanceStatus(instance)
	}
	return nil
}

func (m *StreamManager) acceptAction(action *executorv1.Action) {
	e := m.executions.removeAnswered(action.GetId())
	switch {
	case e == nil:
	case neverStarted(action) && !e.body.hasBegun():
		m.rerouteOnce(e, failureFrom(action.GetFailure()))
	default:
		if ran(action) {
			e.instance.answered.Add(1)
		}
		e.finish(outcome{action: action})
	}
}

// neverStarted reports whether the executor refused the execution, because it is stopping for example. Then, and only
// then, another process may run an execution that was sent: not if the policy was called, and a service that it needs
// was unavailable.
func neverStarted(action *executorv1.Action) bool {
	failure := action.GetFailure()
	return failure.GetFailureClass() == executorv1.FailureClass_FAILURE_CLASS_UNAVAILABLE && failure.GetHook() == ""
}

// ran reports whether the policy was called, and returned or raised.
func ran(action *executorv1.Action) bool {
	switch action.GetFailure().GetFailureClass() {
	case executorv1.FailureClass_FAILURE_CLASS_UNAVAILABLE:
		return !neverStarted(action)
	case executorv1.FailureClass_FAILURE_CLASS_TIMEOUT, executorv1.FailureClass_FAILURE_CLASS_OVERLOADED:
		return false
	default:
		return true
	}
}

// ---------------------------------------------------------------- instances

// acceptInstanceStatus records whether an instance is ready, and releases the executions that waited for it.
func (m *StreamManager) acceptInstanceStatus(answer *executorv1.InstanceStatus) {
	p, ok := m.placements.byNumber[answer.GetInstance()]
	if !ok { // closed meanwhile
		return
	}
	p.answered = true
	m.instancesChanged = true
	if answer.GetFailure() != nil {
		m.failInstance(p, failureFrom(answer.GetFailure()))
		return
	}
	if p.failure != nil {
		m.log.Info("policy instance is configured", "instance", p.instance.String())
	}
	p.markReady()
	m.executions.unpark(p)
	m.sender.wake()
}

func (m *StreamManager) failInstance(p *placement, failure *v1alpha.Failure) {
	if p.failure == nil || *p.failure != *failure {
		m.log.Warn("policy instance failed to configure", "instance", p.instance.String(), "failure", failure.Error())
	}
	p.markFailed(failure, time.Now().Add(m.options.retryAfter(p.tries)))
	m.reroute(m.executions.removeAll(&p.parked)...)
}

// addInstance makes an instance live: it is configured now, and on every later stream.
func (m *StreamManager) addInstance(p *placement) {
	m.mu.Lock()
	defer m.unlock()
	m.placements.add(p)
	if m.connected.Load() {
		m.placements.number(p)
		m.sender.wake()
	}
}

// removeInstance closes an instance. Executions that still wait for it end.
func (m *StreamManager) removeInstance(p *placement) {
	m.mu.Lock()
	defer m.unlock()
	if m.placements.remove(p) {
		m.sender.wake()
	}
	m.reroute(m.executions.removeAll(&p.parked)...)
}

// retryFailed configures the instances that failed a while ago again.
func (m *StreamManager) retryFailed(now time.Time) {
	m.mu.Lock()
	defer m.unlock()
	if m.placements.renumberFailed(now, m.options.ConfigureTimeout) {
		m.sender.wake()
	}
}

// configureProgress returns how many instances are configured, and why the last stream was lost.
func (m *StreamManager) configureProgress() (at configureProgress, lost error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.placements.progress(m.options.ConfigureTimeout), m.stream.lost
}

// policies are those that the process has loaded, or failed to load, by its hello.
func (m *StreamManager) policies() []*executorv1.LoadedPolicy {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stream.hello.GetPolicies()
}

// ---------------------------------------------------------------- health

// recordHealth stores a health check, and logs newly hung executions.
func (m *StreamManager) recordHealth(check *executorv1.HealthCheckResponse, now time.Time) {
	m.mu.Lock()
	m.held = nil // a process that answers runs other code again
	toLog := m.health.record(check, now)
	m.mu.Unlock()
	for _, hung := range toLog {
		m.log.Warn("executions of a policy hang: they still run long after their deadline", "pid", check.GetPid(),
			"policy", hung.GetPolicy(), "api", hung.GetApiName(), "instance", hung.GetInstanceId(), "executions", hung.GetCount(),
			"oldest", (time.Duration(hung.GetOldestMs()) * time.Millisecond).String(), "blocksInstance", hung.GetBlocksInstance(),
			"limit", (time.Duration(hung.GetLimitMs()) * time.Millisecond).String(), "stack", hung.GetStack())
	}
}

// checkStalled returns an error if all workers are held by executions whose deadline must have passed long ago.
func (m *StreamManager) checkStalled(check *executorv1.HealthCheckResponse) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.health.stalled = workersHeld(check, m.executions.longestTimeout+m.options.StallAfter); !m.health.stalled {
		return nil
	}
	return fmt.Errorf("%w at %s: all %d workers are busy and nothing finishes; policy %q has run for %d ms", errStalled,
		m.address, check.GetWorkers(), check.GetOldestExecutionPolicy(), check.GetOldestExecutionMs())
}

// ---------------------------------------------------------------- membership and statistics

// leave lets a process finish its exchanges, within limit.
func (m *StreamManager) leave(limit time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.leaveBy = time.Now().Add(limit)
	m.setRole(roleLeaving)
}

// dismiss marks a leaving process as gone, once it has no executions left and is not needed, or its time is up. It
// reports whether it has, and the number of executions that are cut off.
func (m *StreamManager) dismiss(now time.Time, needed bool) (gone bool, cut int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	load := m.executions.load()
	if !m.is(roleLeaving) || ((needed || load > 0) && now.Before(m.leaveBy)) {
		return false, 0
	}
	m.setRole(roleGone)
	return true, load
}

func (m *StreamManager) stats(group string) ProcessStats {
	m.mu.Lock()
	defer m.mu.Unlock()
	hello := m.stream.hello
	stats := ProcessStats{
		Group: group, Address: m.address, Generation: m.joined.number, Role: m.roleName(),
		Connected: m.connected.Load(), Serving: m.connected.Load() && m.serving.Load() && !m.stopping.Load(),
		PID: hello.GetPid(), PythonVersion: hello.GetPythonVersion(), Workers: hello.GetWorkers(),
		Instances: len(m.placements.live), UnderWay: len(m.executions.sent), Queued: m.executions.waiting,
		Streams: m.executions.streams(), Frames: m.credit.total, Executions: m.executions.totalSent,
		PiecesSent: m.pieces.sent.pieces, BytesSent: m.pieces.sent.bytes,
		PiecesReceived: m.pieces.received.pieces, BytesReceived: m.pieces.received.bytes,
		Reconnects: max(m.stream.count, 1) - 1, DroppedAnswers: m.executions.droppedAnswers,
		SpanBytes: m.spans.bytes.Load(), DroppedSpanBytes: m.spans.dropped.Load(),
	}
	m.health.addTo(&stats, time.Now())
	return stats
}
