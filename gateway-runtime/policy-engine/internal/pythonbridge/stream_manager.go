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

// StreamManager owns the one stream to one executor process: which executions wait, which were sent and not answered,
// what goes into the next frame and when. It does no I/O; a session moves the frames.
//
// The life of a stream: run makes one session after another. Each checks the process's health, opens a stream, waits for
// its hello, and calls attach. Until the stream breaks, frames go both ways: fillFrame has what the session sends, accept
// takes what it receives, and a healthMonitor looks after the process. Then the session calls detach.
//
// The life of an execution: submit → queued (or parked, while its instance is being configured) → fillFrame → sent →
// accept. abandon and detach take it out wherever it is. One that is a stream (bodyStream) has pieces on the way meanwhile:
// offerChunk → fillFrame, and accept → takeNews.
//
// What it knows is in values of their own, all under its one mutex.
type StreamManager struct {
	address      string
	options      Options
	log          *slog.Logger
	owner        processOwner
	membership               // which generations of its group it runs
	availability             // what a group asks without the mutex
	sender       frameSender // has sent what waits
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
	toReroute        []*execution // never started, for the owner, after unlock
	instancesChanged bool         // to be told to the owner after unlock
}

// processOwner is told what follows from the changes of a process.
type processOwner interface {
	// reroute finds another process for an execution that was never started, or ends it.
	reroute(e *execution)
	// processChanged says that a process, or an instance in one, became ready, failed, or was lost.
	processChanged()
	// processCrashed says that a process has crashed, and what it was at. It is called with the mutex of the process held,
	// before the executions there end.
	processCrashed(candidates []quarantine.Candidate)
	// processHeld says that an instance of these holds the interpreter of a process, at FILE:LINE, and returns the name of
	// the one that is under quarantine for it; "" for none. It is called as processCrashed is.
	processHeld(candidates []quarantine.Candidate, at string) (instance string)
}

// streamRecord is what is known of the present stream and those before it.
type streamRecord struct {
	hello *executorv1.Hello // of the latest
	lost  error             // why the last one ended
	count uint64            // attached ever
}

// availability is what decides whether and how readily executions are given to a process.
type availability struct {
	connected atomic.Bool  // hello was said on the present stream
	serving   atomic.Bool  // the process takes executions, by its last health check
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
	return m.connected.Load() && m.serving.Load() && !m.is(roleJoining) && !m.is(roleGone)
}

// unlock ends a change: what follows from it happens outside the mutex, for it may touch another StreamManager.
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
				reason = lossInWords(err)
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

// attach starts a new stream: every live instance is configured again before anything else is sent.
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

// crashCandidates are the instances that count and have executions under way, or had some that were abandoned a short
// while ago.
func (m *StreamManager) crashCandidates(now time.Time, counts func(*instance) bool) (all []quarantine.Candidate) {
	found := map[*instance]bool{}
	for _, e := range m.executions.sent {
		found[e.instance] = true
	}
	for _, p := range m.placements.live {
		if now.Sub(p.abandonedAt) < abandonedExecutionsCount {
			found[p.instance] = true
		}
	}
	maps.DeleteFunc(found, func(i *instance, _ bool) bool { return !counts(i) })
	for i := range found {
		all = append(all, quarantine.Candidate{ID: i.id, Answered: i.answered.Load(), Alone: len(found) == 1})
	}
	return all
}

// reroute lets go of executions that were not started, for another process to run.
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

// submit queues an execution at this process's placement of its instance, and has it sent. A failed instance is
// unavailable, a full queue refuses at once.
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

// abandon takes out an execution that has ended for its waiter. If it was sent, the process is told, and says in its log
// where it is if it is late. It returns whether the process will: one that answers does.
func (m *StreamManager) abandon(e *execution, timedOut bool) (logged bool) {
	m.mu.Lock()
	defer m.unlock()
	if e.home.Load() != m || !m.executions.withdraw(e, timedOut) {
		return false // one that moved meanwhile is dropped by its new home when its turn comes
	}
	e.at.abandonedAt = time.Now()
	m.sender.wake()
	if !timedOut || m.silent.Load() {
		return false
	}
	e.location = m.locations.add(e.message.GetId())
	return true
}

// fillFrame fills frame with what waits, up to the limits, and reports whether it is to be sent: there is something, and
// credit for one more, or results of the store, which need none. What is in the frame counts as sent.
func (m *StreamManager) fillFrame(frame *executorv1.RequestFrame, now time.Time) bool {
	clear(frame.Configure)
	clear(frame.Executions)
	clear(frame.Pieces)
	clear(frame.Credit)
	clear(frame.StoreResults)
	frame.Configure, frame.Executions = frame.Configure[:0], frame.Executions[:0] // keeps the room
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
	if size <= maxFrameBytes { // a larger one may be all that a message holds
		m.calls.fillFrame(frame)
	}
	if len(m.calls.results) > 0 {
		m.sender.wake() // an exchange's goroutine sends one frame only
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

// neverStarted reports whether the executor refused the execution because it is stopping, say. Then, and only then,
// another process may try an execution that was sent: not where the policy was called, and what it asked was unavailable.
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

// acceptInstanceStatus notes whether an instance is ready, and lets go of what waited for it.
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

// removeInstance closes an instance. What still waits for it ends.
func (m *StreamManager) removeInstance(p *placement) {
	m.mu.Lock()
	defer m.unlock()
	if m.placements.remove(p) {
		m.sender.wake()
	}
	m.reroute(m.executions.removeAll(&p.parked)...)
}

// retryFailed has the instances configured again that failed a while ago.
func (m *StreamManager) retryFailed(now time.Time) {
	m.mu.Lock()
	defer m.unlock()
	if m.placements.renumberFailed(now, m.options.ConfigureTimeout) {
		m.sender.wake()
	}
}

// configureProgress is how far the process is with its instances, and why its last stream was lost.
func (m *StreamManager) configureProgress() (at configureProgress, lost error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.placements.progress(m.options.ConfigureTimeout), m.stream.lost
}

// policies are those that the process says it has loaded, or has failed to.
func (m *StreamManager) policies() []*executorv1.LoadedPolicy {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stream.hello.GetPolicies()
}

// ---------------------------------------------------------------- health

// recordHealth keeps what the process said of itself, and logs what is new of its hung executions.
func (m *StreamManager) recordHealth(check *executorv1.HealthCheckResponse, now time.Time) {
	m.mu.Lock()
	m.held = nil // a process that answers runs other code again
	news := m.health.record(check, now)
	m.mu.Unlock()
	for _, hung := range news {
		m.log.Warn("executions of a policy hang: they run on although their deadline is long past", "pid", check.GetPid(),
			"policy", hung.GetPolicy(), "api", hung.GetApiName(), "instance", hung.GetInstanceId(), "executions", hung.GetCount(),
			"oldest", (time.Duration(hung.GetOldestMs()) * time.Millisecond).String(), "blocksInstance", hung.GetBlocksInstance(),
			"limit", (time.Duration(hung.GetLimitMs()) * time.Millisecond).String(), "stack", hung.GetStack())
	}
}

// checkStalled is an error where all workers are held by executions whose deadline must have passed long ago.
func (m *StreamManager) checkStalled(check *executorv1.HealthCheckResponse) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.health.stalled = heldByHung(check, m.executions.longestTimeout+m.options.StallAfter); !m.health.stalled {
		return nil
	}
	return fmt.Errorf("%w at %s: all %d workers are busy and nothing finishes; policy %q has run for %d ms", errStalled,
		m.address, check.GetWorkers(), check.GetOldestExecutionPolicy(), check.GetOldestExecutionMs())
}

// ---------------------------------------------------------------- membership and statistics

// leave lets a process go on with the exchanges it has, for at most limit.
func (m *StreamManager) leave(limit time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.leaveBy = time.Now().Add(limit)
	m.become(roleLeaving)
}

// dismiss makes a leaving process one that gets nothing any more, once nothing is left to do there and it is not needed,
// or its time is up. It reports whether it has, and how many executions that cuts off.
func (m *StreamManager) dismiss(now time.Time, needed bool) (gone bool, cut int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	load := m.executions.load()
	if !m.is(roleLeaving) || ((needed || load > 0) && now.Before(m.leaveBy)) {
		return false, 0
	}
	m.become(roleGone)
	return true, load
}

func (m *StreamManager) stats(group string) ProcessStats {
	m.mu.Lock()
	defer m.mu.Unlock()
	hello := m.stream.hello
	stats := ProcessStats{
		Group: group, Address: m.address, Generation: m.joined.number, Role: m.roleName(),
		Connected: m.connected.Load(), Serving: m.connected.Load() && m.serving.Load(),
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
