package pythonbridge

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/sdk/policy/v1alpha"
)

// StreamManager owns the one stream to one executor process: which executions wait, which were sent and not answered,
// what goes into the next frame and when. It does no I/O; session.go moves the frames.
//
// The life of an execution: submit → queue (or parked, while its instance is being configured) → takeFrame → sent →
// accept. forget and detach take it out wherever it is.
type StreamManager struct {
	address    string
	generation *generation // that it joined in
	options    Options
	log        *slog.Logger
	rehome     func(*execution) // finds another process for an execution that was never started, or ends it
	changed    func()           // tells the group that a process or an instance changed
	died       func([]suspect)  // tells the group that the process is gone, and what it was at
	stop       func()           // ends run
	wake       chan struct{}    // holds a token when there may be something to send

	current   atomic.Pointer[session] // that moves the frames; nil without a stream
	role      atomic.Int32            // in its group
	last      atomic.Uint64           // number of the last generation that it runs
	connected atomic.Bool             // hello was said on the present stream
	serving   atomic.Bool             // the process takes executions, by its last health check
	lagging   atomic.Bool             // it did not answer its last health check
	load      atomic.Int64            // executions queued and sent
	gathering atomic.Bool             // somebody is about to send what waits

	superseded []string // policies whose instances it does not take while it joins; guarded by its group

	mu                 sync.Mutex
	hello              *executorv1.Hello
	lost               error // why the last stream ended
	health             healthReport
	leaveBy            time.Time             // when a leaving process is cut off
	live               []*placement          // every instance that is not closed
	numbered           map[uint32]*placement // those of the present stream
	unsent             []*placement          // to be configured
	queue              fifo
	queued             int                   // in queue and parked
	sent               map[uint64]*execution // by id; not answered yet
	cancels            []uint64
	timedOut           []*executorv1.TimedOut // of cancels, those whose time is over
	closes             []uint32
	lastID             uint64 // never reused, not even on another stream
	lastNumber         uint32
	framesSent         uint64 // on the present stream
	framesAcknowledged uint64
	longestTimeout     time.Duration // of an execution ever sent
	counts             counts
	loose              []*execution // never started, to be given to rehome after unlock
	instancesChange    bool         // to be told to changed after unlock
}

// counts are totals over all streams of a process.
type counts struct{ frames, executions, streams, dropped uint64 }

var (
	errNotConnected = errors.New("the executor process is not connected")

	// errStreamEnded is an orderly end: the process has answered all that it has taken in. What it has not taken in,
	// by its acknowledgements, was never started.
	errStreamEnded = errors.New("the executor process ended the stream")
)

func newStreamManager(address string, generation *generation, options Options, log *slog.Logger) *StreamManager {
	m := &StreamManager{
		address: address, generation: generation, options: options, log: log, stop: func() {},
		wake: make(chan struct{}, 1), numbered: map[uint32]*placement{}, sent: map[uint64]*execution{},
		rehome: func(e *execution) { e.finish(outcome{err: failUnavailable}) }, changed: func() {},
		died: func([]suspect) {},
	}
	m.last.Store(stillServing)
	return m
}

// usable reports whether executions may be given to this process.
func (m *StreamManager) usable() bool {
	return m.connected.Load() && m.serving.Load() && !m.is(roleJoining) && !m.is(roleGone)
}

func (m *StreamManager) wakeSender() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// unlock ends a change: what follows from it happens outside the mutex, for it may touch another StreamManager.
func (m *StreamManager) unlock() {
	m.load.Store(int64(m.queued + len(m.sent)))
	loose, changed := m.loose, m.instancesChange
	m.loose, m.instancesChange = nil, false
	m.mu.Unlock()
	for _, e := range loose {
		m.rehome(e)
	}
	if changed {
		m.changed()
	}
}

// attach begins a new stream: every live instance is configured again before anything else is sent.
func (m *StreamManager) attach(hello *executorv1.Hello) {
	m.mu.Lock()
	defer m.unlock()
	m.hello = hello
	m.counts.streams++
	m.framesSent, m.framesAcknowledged = 0, 0
	for _, p := range m.live {
		m.place(p)
	}
	m.connected.Store(true)
	m.instancesChange = true
	m.wakeSender()
}

// detach ends the present stream. Executions that were sent have crashed; the others move to another process.
func (m *StreamManager) detach(cause error) {
	crashed := v1alpha.Failf(v1alpha.ClassCrashed, "the executor process at %s was lost after the execution was sent: %v", m.address, cause)
	orderly := errors.Is(cause, errStreamEnded)
	m.mu.Lock()
	defer m.unlock()
	m.connected.Store(false)
	m.lost = cause
	if status.Code(cause) == codes.Unavailable { // the connection is gone, and nobody here has ended it
		m.died(m.atWork(time.Now()))
	}
	for _, e := range m.sent {
		if orderly && e.frame > m.framesAcknowledged {
			m.refuse(e, crashed)
		} else {
			e.finish(outcome{err: crashed})
		}
	}
	m.release(&m.queue)
	for _, p := range m.live {
		m.displace(p)
	}
	clear(m.sent)
	clear(m.numbered)
	m.unsent, m.cancels, m.timedOut, m.closes = nil, nil, nil, nil
	m.instancesChange = true
}

// atWork are the instances that had executions under way.
func (m *StreamManager) atWork(now time.Time) (all []suspect) {
	found := map[*instance]bool{}
	for _, e := range m.sent {
		found[e.instance] = true
	}
	for _, p := range m.live {
		if now.Sub(p.leftAt) < abandonedMemory {
			found[p.instance] = true
		}
	}
	for i := range found {
		all = append(all, suspect{i, len(found) == 1})
	}
	return all
}

// release empties a queue; its executions find another process.
func (m *StreamManager) release(queue *fifo) {
	for e := queue.pop(); e != nil; e = queue.pop() {
		m.queued--
		m.give(e)
	}
}

// submit queues an execution at this process's placement of its instance, and has it sent. A failed instance is
// unavailable, a full queue refuses at once.
func (m *StreamManager) submit(e *execution, p *placement) error {
	err := m.enqueue(e, p)
	if err == nil {
		m.dispatch()
	}
	return err
}

// dispatch sends at once where nothing is on its way, so that no other goroutine need be woken; else the sender does.
// Executions come in bursts, as Envoy's messages do: goroutines that are ready go first, so that a frame takes what they
// bring.
func (m *StreamManager) dispatch() {
	if !m.gathering.CompareAndSwap(false, true) {
		return // whoever gathers sends this one too
	}
	runtime.Gosched()
	m.gathering.Store(false) // before it is seen what there is
	if s := m.current.Load(); s == nil || !s.sendNow() {
		m.wakeSender()
	}
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
	case m.queued >= m.options.QueueLength:
		return v1alpha.Failf(v1alpha.ClassOverloaded, "%d executions wait for the executor process at %s already; "+
			"start more executors, or lower the load", m.queued, m.address)
	}
	m.hold(p, e)
	return nil
}

func (m *StreamManager) hold(p *placement, e *execution) {
	e.home.Store(m)
	e.at = p
	m.queued++
	if !p.is(stateReady) {
		p.parked.push(e)
		return
	}
	m.queue.push(e)
}

// forget takes out an execution that has ended for its waiter. If it was sent, the process is told, and says in its log
// where it is if its time is over. It returns whether the process will: one that answers does.
func (m *StreamManager) forget(e *execution, timedOut bool) (logged bool) {
	m.mu.Lock()
	defer m.unlock()
	switch {
	case e.home.Load() != m: // it moved meanwhile; its new home drops it when its turn comes
	case e.queue != nil:
		e.queue.remove(e)
		m.queued--
	case m.sent[e.message.GetId()] == e:
		delete(m.sent, e.message.GetId())
		m.cancels = append(m.cancels, e.message.GetId())
		e.at.leftAt = time.Now()
		m.wakeSender()
		if timedOut {
			m.timedOut = append(m.timedOut, timedOutMessage(&e.message))
			return !m.lagging.Load()
		}
	}
	return false
}

func timedOutMessage(e *executorv1.Execution) *executorv1.TimedOut {
	return &executorv1.TimedOut{Id: e.GetId(), Instance: e.GetInstance(), Phase: e.GetPhase(), TimeoutUs: e.GetTimeoutUs(),
		RequestId: e.GetRequestId(), Operation: e.GetOperation()}
}

// accept takes in one reply frame. An error is a violation of the protocol, after which the stream must end.
func (m *StreamManager) accept(frame *executorv1.ReplyFrame) error {
	m.mu.Lock()
	defer m.unlock()
	if frame.GetHello() != nil {
		return errors.New("expected hello in the first reply frame only, got another one")
	}
	if err := m.acknowledge(frame.GetFramesAcknowledged()); err != nil {
		return err
	}
	for _, action := range frame.GetActions() {
		m.answer(action)
	}
	for _, instance := range frame.GetInstances() {
		m.settle(instance)
	}
	return nil
}

func (m *StreamManager) acknowledge(takenIn uint64) error {
	if takenIn > m.framesSent {
		return fmt.Errorf("expected at most %d frames taken in, for so many were sent, got %d", m.framesSent, takenIn)
	}
	if takenIn > m.framesAcknowledged {
		m.framesAcknowledged = takenIn
		m.wakeSender()
	}
	return nil
}

func (m *StreamManager) answer(action *executorv1.Action) {
	e, ok := m.sent[action.GetId()]
	if !ok { // late, or never asked for
		m.counts.dropped++
		return
	}
	delete(m.sent, action.GetId())
	if neverStarted(action) {
		m.refuse(e, failureFrom(action.GetFailure()))
	} else {
		if ran(action) {
			e.instance.answered.Add(1)
		}
		e.finish(outcome{action: action})
	}
}

// neverStarted reports whether the executor refused the execution because it is stopping, say. Then, and only then,
// another process may try an execution that was sent.
func neverStarted(action *executorv1.Action) bool {
	return action.GetFailure().GetFailureClass() == executorv1.FailureClass_FAILURE_CLASS_UNAVAILABLE
}

// ran reports whether the policy was called, and returned or raised.
func ran(action *executorv1.Action) bool {
	switch action.GetFailure().GetFailureClass() {
	case executorv1.FailureClass_FAILURE_CLASS_UNAVAILABLE, executorv1.FailureClass_FAILURE_CLASS_TIMEOUT,
		executorv1.FailureClass_FAILURE_CLASS_OVERLOADED:
		return false
	default:
		return true
	}
}

// refuse gives an execution that was sent and not started to another process, once.
func (m *StreamManager) refuse(e *execution, failure *v1alpha.Failure) {
	if e.refusedBy != nil {
		e.finish(outcome{err: failure})
		return
	}
	e.refusedBy = m
	m.give(e)
}

// give lets go of an execution that was not started, for another process to take.
func (m *StreamManager) give(e *execution) {
	e.home.Store(nil)
	m.loose = append(m.loose, e)
}

// settle notes whether an instance is ready, and lets go of what waited for it.
func (m *StreamManager) settle(answer *executorv1.InstanceStatus) {
	p, ok := m.numbered[answer.GetInstance()]
	if !ok { // closed meanwhile
		return
	}
	p.answered = true
	m.instancesChange = true
	if answer.GetFailure() != nil {
		m.fail(p, failureFrom(answer.GetFailure()))
		return
	}
	if p.failure != nil {
		m.log.Info("policy instance is configured", "instance", p.instance.String())
	}
	p.failure, p.tries = nil, 0
	p.become(stateReady)
	for e := p.parked.pop(); e != nil; e = p.parked.pop() {
		m.queue.push(e)
	}
	m.wakeSender()
}

func (m *StreamManager) fail(p *placement, failure *v1alpha.Failure) {
	if p.failure == nil || *p.failure != *failure {
		m.log.Warn("policy instance failed to configure", "instance", p.instance.String(), "failure", failure.Error())
	}
	p.failure, p.retryAt = failure, time.Now().Add(m.options.retryAfter(p.tries))
	p.tries++
	p.become(stateFailed)
	m.release(&p.parked)
}

// add makes an instance live: it is configured now, and on every later stream.
func (m *StreamManager) add(p *placement) {
	m.mu.Lock()
	defer m.unlock()
	m.live = append(m.live, p)
	if m.connected.Load() {
		m.place(p)
		m.wakeSender()
	}
}

// remove closes an instance. What still waits for it ends.
func (m *StreamManager) remove(p *placement) {
	m.mu.Lock()
	defer m.unlock()
	if at := slices.Index(m.live, p); at >= 0 {
		m.live = slices.Delete(m.live, at, at+1)
	}
	p.become(stateClosed)
	m.release(&p.parked)
	m.unplace(p)
}

// place gives an instance a number of the present stream and lists it to be configured.
func (m *StreamManager) place(p *placement) {
	m.lastNumber++
	p.number = m.lastNumber
	p.await(stateWaiting)
	m.numbered[p.number] = p
	m.unsent = append(m.unsent, p)
}

// unplace takes an instance's number back.
func (m *StreamManager) unplace(p *placement) {
	if m.numbered[p.number] != p {
		return
	}
	delete(m.numbered, p.number)
	if at := slices.Index(m.unsent, p); at >= 0 {
		m.unsent = slices.Delete(m.unsent, at, at+1)
		return
	}
	m.closes = append(m.closes, p.number)
	m.wakeSender()
}

// displace is what the end of a stream means to an instance.
func (m *StreamManager) displace(p *placement) {
	if p.is(stateAsked) && !p.answered {
		p.breaks++
	}
	p.failure, p.tries, p.leftAt = nil, 0, time.Time{}
	p.become(stateWaiting)
	m.release(&p.parked)
}

// retryFailed configures again, under new numbers, the instances that failed a while ago. They are unavailable until
// they are ready.
func (m *StreamManager) retryFailed(now time.Time) {
	m.mu.Lock()
	defer m.unlock()
	for _, p := range m.live {
		if p.is(stateFailed) && now.After(p.retryAt) {
			p.retryAt = now.Add(p.instance.configureTimeout(m.options.ConfigureTimeout))
			m.unplace(p)
			m.place(p)
			m.wakeSender()
		}
	}
}
