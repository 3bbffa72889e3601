package pythonbridge

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/policy-engine/internal/property"
	"gatewright.dev/sdk/policy/v1alpha"
)

// machine drives a group by hand, without streams and with its own clock, through generations of two processes, and
// tracks the expected result of each execution.
type machine struct {
	generations *generations
	group       *group
	instances   []*instance
	now         time.Time
	members     []*StreamManager // all there ever were
	peers       map[*StreamManager]*peer
	joining     []*StreamManager
	known       []*generation        // all there ever were
	disturbed   map[*generation]bool // one of its processes was lost, refused something, or was cut off
	exchanges   []*exchange
	all         []*tracked
	byMessage   map[*executorv1.Execution]*tracked
}

// peer is the state of one process's executor.
type peer struct {
	stream       int      // how many there were
	frames       uint64   // of the present stream
	acknowledged uint64   // of these
	asked        []uint32 // instances that wait for their status
	answered     []uint64 // ids that have had an answer, or whose stream broke
	open         []uint64
}

// exchange is several executions that belong together.
type exchange struct {
	metadata   v1alpha.ExchangeMetadata
	generation *generation
	instances  []*instance // of its chain: they were there before it began
	ended      bool
}

type tracked struct {
	*execution
	exchange  *exchange
	refused   error
	abandoned bool
	sent      int
	sentTo    *StreamManager
	stream    int
	frame     uint64
	id        uint64
	refusals  int     // by a process that did not start it
	lost      bool    // its stream broke while it was under way
	bodies    *bodies // of a streaming execution
}

const machineDrain = 100 * time.Millisecond

func newMachine() *machine {
	options := Options{QueueLength: 6, CreditFrames: 2, Drain: machineDrain}.withDefaults()
	w := &machine{now: time.Now(), generations: newGenerations(1), byMessage: map[*executorv1.Execution]*tracked{},
		peers: map[*StreamManager]*peer{}, disturbed: map[*generation]bool{}}
	w.known = []*generation{w.generations.current.Load()}
	w.group = newGroup(context.Background(), "g", w.generations, options, quiet)
	for range 2 {
		w.enlist(w.generations.current.Load(), roleServing)
		w.addInstance()
	}
	return w
}

func (w *machine) addInstance() {
	i := newInstance(&executorv1.ConfigureInstance{})
	w.group.addInstance(i)
	w.instances = append(w.instances, i)
}

func (w *machine) enlist(of *generation, as role) *StreamManager {
	m := w.group.addProcess("unix:/x", of, as, nil)
	m.serving.Store(true)
	m.stop = func() { w.lose(m, context.Canceled) }
	w.members, w.peers[m] = append(w.members, m), &peer{}
	return m
}

func (w *machine) drawProcess(t *rapid.T) *StreamManager {
	return rapid.SampledFrom(w.members[max(0, len(w.members)-6):]).Draw(t, "process")
}

// ---------------------------------------------------------------- events of processes

// renew begins a generation of two processes, or the replacement of one process of the present generation.
func (w *machine) renew(t *rapid.T) {
	if len(w.joining) > 0 {
		return
	}
	present := w.generations.current.Load()
	if rapid.Bool().Draw(t, "recycle") {
		w.joining = []*StreamManager{w.enlist(present, roleJoining)}
		return
	}
	next := w.newGeneration(present)
	w.joining = []*StreamManager{w.enlist(next, roleJoining), w.enlist(next, roleJoining)}
}

func (w *machine) newGeneration(present *generation) *generation {
	next := &generation{number: present.number + 1}
	w.known = append(w.known, next)
	return next
}

// keep begins a generation with the processes of the one before.
func (w *machine) keep(*rapid.T) {
	if len(w.joining) > 0 {
		return
	}
	present := w.generations.current.Load()
	next := w.newGeneration(present)
	w.disturbed[next] = w.disturbed[present]
	(&change{generation: next}).commit(w.generations)
}

// disturb notes that an exchange of any generation of the process may move to another one.
func (w *machine) disturb(m *StreamManager) {
	for _, g := range w.known {
		if m.runs(g) {
			w.disturbed[g] = true
		}
	}
}

// finishRenewal ends what renew began: with a switch if all joining processes are ready, otherwise by giving up.
func (w *machine) finishRenewal(t *rapid.T) {
	if len(w.joining) == 0 {
		return
	}
	c := &change{generation: w.joining[0].joined}
	for _, m := range w.joining {
		c.joining = append(c.joining, &joiner{group: w.group, process: m})
		if done, err := w.group.joined(m); !done || err != nil {
			if rapid.IntRange(0, 3).Draw(t, "gives up") == 0 {
				w.giveUp()
			}
			return
		}
	}
	for _, m := range w.group.serving() {
		if c.generation != w.generations.current.Load() || len(c.leaving) == 0 {
			c.leaving = append(c.leaving, m)
		}
	}
	w.joining = nil
	c.commit(w.generations)
}

func (w *machine) giveUp() {
	c := &change{}
	for _, m := range w.joining {
		c.joining = append(c.joining, &joiner{group: w.group, process: m})
	}
	w.joining = nil
	c.abort()
}

func (w *machine) sweep(*rapid.T) {
	for _, m := range w.group.allProcesses() {
		if m.is(roleLeaving) && !w.now.Before(m.leaveBy) && (m.load.Load() > 0 || w.generations.stillNeeds(m)) {
			w.disturb(m)
		}
	}
	w.group.sweep(w.now)
}

func (w *machine) connect(t *rapid.T) { w.attach(w.drawProcess(t)) }

func (w *machine) attach(m *StreamManager) {
	if !m.connected.Load() && !m.is(roleGone) {
		m.attach(&executorv1.Hello{})
		p := w.peers[m]
		p.stream++
		p.frames, p.acknowledged = 0, 0
	}
}

func (w *machine) breakStream(t *rapid.T) {
	m := w.drawProcess(t)
	w.disturb(m)
	w.lose(m, context.Canceled)
}

// endStream is orderly: unacknowledged executions were never started, and may be sent to another process.
func (w *machine) endStream(t *rapid.T) {
	m := w.drawProcess(t)
	w.disturb(m)
	w.lose(m, errStreamEnded)
}

func (w *machine) lose(m *StreamManager, cause error) {
	if !m.connected.Load() {
		return
	}
	p := w.peers[m]
	for _, entry := range w.all {
		switch underWay := entry.sent > entry.refusals && entry.sentTo == m && !entry.ended.Load(); {
		case underWay && errors.Is(cause, errStreamEnded) && entry.frame > p.acknowledged && !w.begun(entry):
			entry.lost = entry.refusals > 0
			entry.refusals++
		case underWay:
			entry.lost = true
		}
	}
	m.detach(cause)
	p.answered, p.open, p.asked = append(p.answered, p.open...), nil, nil
}

// ---------------------------------------------------------------- events of exchanges

func (w *machine) submit(t *rapid.T) { w.submitWith(t, nil) }

func (w *machine) submitWith(t *rapid.T, body *bodyStream) {
	if len(w.instances) < 4 && rapid.IntRange(0, 9).Draw(t, "new instance") == 0 {
		w.addInstance()
	}
	x := w.drawExchange(t)
	target := rapid.SampledFrom(x.instances).Draw(t, "instance")
	e := &execution{
		instance: target, generation: w.generations.ofExchange(&x.metadata), answers: make(chan outcome, 1), size: messageOverhead,
		deadline: w.now.Add(time.Duration(rapid.IntRange(1, 50).Draw(t, "timeout")) * time.Millisecond),
		alone:    rapid.Bool().Draw(t, "alone"), body: body,
	}
	if x.generation != nil && x.generation != e.generation {
		t.Fatalf("an exchange of generation %d was then bound to %d", x.generation.number, e.generation.number)
	}
	x.generation = e.generation
	entry := &tracked{execution: e, exchange: x}
	if body != nil {
		entry.bodies = &bodies{mayYield: creditWindow}
	}
	w.all = append(w.all, entry)
	w.byMessage[&e.message] = entry
	entry.refused = w.group.submit(e)
}

func (w *machine) drawExchange(t *rapid.T) *exchange {
	for _, x := range w.exchanges {
		if !x.ended && rapid.IntRange(0, 2).Draw(t, "goes on") == 0 {
			return x
		}
	}
	w.exchanges = append(w.exchanges, &exchange{instances: slices.Clone(w.instances)})
	return w.exchanges[len(w.exchanges)-1]
}

// endExchange ends an exchange without pending executions.
func (w *machine) endExchange(t *rapid.T) {
	if len(w.exchanges) == 0 {
		return
	}
	x := rapid.SampledFrom(w.exchanges).Draw(t, "exchange")
	for _, entry := range w.all {
		if entry.exchange == x && entry.refused == nil && !entry.ended.Load() {
			return
		}
	}
	if !x.ended {
		x.metadata.End()
		x.ended = true
	}
}

func (w *machine) frame(t *rapid.T) { w.readFrame(t, w.drawProcess(t)) }

func (w *machine) readFrame(t *rapid.T, m *StreamManager) {
	frame := &executorv1.RequestFrame{}
	if !m.fillFrame(frame, w.now) {
		return
	}
	p := w.peers[m]
	p.frames++
	for _, configure := range frame.Configure {
		p.asked = append(p.asked, configure.Instance)
	}
	for _, message := range frame.Executions {
		w.noteSent(t, m, w.byMessage[message])
		p.open = append(p.open, message.Id)
	}
	w.readBodies(t, m, frame)
	w.checkCancels(t, m, frame.Cancel)
}

func (w *machine) noteSent(t *rapid.T, m *StreamManager, entry *tracked) {
	p := w.peers[m]
	entry.sent++
	entry.sentTo, entry.id, entry.stream, entry.frame = m, entry.message.Id, p.stream, p.frames
	if at := entry.instance.placementIn(m); at == nil || !at.is(stateReady) || at.number != entry.message.Instance {
		t.Fatalf("an execution was sent for an instance that is not ready")
	}
	own := entry.exchange.generation
	if !m.runs(own) && !w.disturbed[own] {
		t.Fatalf("an exchange of generation %d was executed in generation %d, and no process of its own was lost", own.number, m.joined.number)
	}
	if m.is(roleJoining) || m.is(roleGone) {
		t.Fatalf("an execution was sent to a process that is %s", m.roleName())
	}
}

func (w *machine) checkCancels(t *rapid.T, m *StreamManager, ids []uint64) {
	for _, id := range ids {
		known := false
		for _, entry := range w.all {
			known = known || (entry.sentTo == m && entry.stream == w.peers[m].stream && entry.id == id && entry.abandoned)
		}
		if !known {
			t.Fatalf("%d was cancelled, which was not abandoned on this stream", id)
		}
	}
}

func (w *machine) acknowledge(t *rapid.T) {
	m := w.drawProcess(t)
	p := w.peers[m]
	frames := uint64(rapid.IntRange(0, int(p.frames)).Draw(t, "acknowledged"))
	p.acknowledged = max(p.acknowledged, frames)
	w.accept(t, m, &executorv1.ReplyFrame{FramesAcknowledged: frames})
}

func (w *machine) answer(t *rapid.T) { w.answerWith(t, nil) }

// refuse answers that an execution was not started. Only then may it be sent again.
func (w *machine) refuse(t *rapid.T) {
	w.answerWith(t, &executorv1.Failure{FailureClass: executorv1.FailureClass_FAILURE_CLASS_UNAVAILABLE})
}

func (w *machine) answerWith(t *rapid.T, failure *executorv1.Failure) {
	m := w.drawProcess(t)
	p := w.peers[m]
	if len(p.open) == 0 {
		return
	}
	at := rapid.IntRange(0, len(p.open)-1).Draw(t, "which")
	id := p.open[at]
	p.open = append(p.open[:at:at], p.open[at+1:]...)
	p.answered = append(p.answered, id)
	for _, entry := range w.all {
		if failure != nil && entry.sentTo == m && entry.id == id && !w.begun(entry) {
			entry.refusals++
			w.disturb(m)
		}
	}
	w.accept(t, m, &executorv1.ReplyFrame{Actions: []*executorv1.Action{{Id: id, Failure: failure}}})
}

func (w *machine) answerAgain(t *rapid.T) {
	m := w.drawProcess(t)
	ids := append([]uint64{0, 1 << 40}, w.peers[m].answered...)
	w.accept(t, m, &executorv1.ReplyFrame{Actions: []*executorv1.Action{{Id: rapid.SampledFrom(ids).Draw(t, "id")}}})
}

// makeAllReady completes the configuration, so that runs spend their steps on failures.
func (w *machine) makeAllReady(t *rapid.T) {
	for _, m := range w.members {
		if m.is(roleGone) {
			continue
		}
		w.attach(m)
		w.readFrame(t, m)
		p := w.peers[m]
		for _, number := range p.asked {
			p.acknowledged = max(p.acknowledged, p.frames)
			w.accept(t, m, &executorv1.ReplyFrame{FramesAcknowledged: p.acknowledged, Instances: []*executorv1.InstanceStatus{{Instance: number}}})
		}
		p.asked = nil
	}
}

func (w *machine) reportInstance(t *rapid.T) {
	m := w.drawProcess(t)
	p := w.peers[m]
	if len(p.asked) == 0 {
		return
	}
	status := &executorv1.InstanceStatus{Instance: p.asked[0]}
	if rapid.IntRange(0, 3).Draw(t, "fails") == 0 {
		status.Failure = &executorv1.Failure{Message: "no"}
	}
	p.asked = p.asked[1:]
	w.accept(t, m, &executorv1.ReplyFrame{Instances: []*executorv1.InstanceStatus{status}})
}

func (w *machine) retry(t *rapid.T) {
	w.drawProcess(t).retryFailed(time.Now().Add(time.Hour))
}

func (w *machine) accept(t *rapid.T, m *StreamManager, frame *executorv1.ReplyFrame) {
	if !m.connected.Load() {
		return
	}
	if err := m.accept(frame); err != nil {
		t.Fatalf("a reply that keeps to the protocol was refused: %v", err)
	}
}

func (w *machine) abandon(t *rapid.T) {
	if len(w.all) > 0 {
		entry := rapid.SampledFrom(w.all).Draw(t, "execution")
		if entry.refused == nil {
			ended, _ := entry.abandon(rapid.Bool().Draw(t, "timed out"))
			entry.abandoned = ended || entry.abandoned
		}
	}
}

func (w *machine) pass(t *rapid.T) {
	w.now = w.now.Add(time.Duration(rapid.IntRange(1, 40).Draw(t, "ms")) * time.Millisecond)
}

// ---------------------------------------------------------------- invariants

// check verifies the invariants after every step.
func (w *machine) check(t *rapid.T) {
	w.checkStreams(t)
	for _, m := range w.members {
		w.checkMember(t, m)
	}
	for _, m := range w.group.serving() {
		if !m.runs(w.generations.current.Load()) {
			t.Fatalf("a process of generation %d serves, the present one is %d", m.joined.number, w.generations.current.Load().number)
		}
	}
}

func (w *machine) checkMember(t *rapid.T, m *StreamManager) {
	parked := 0
	for _, p := range m.placements.live {
		parked += p.parked.length
	}
	if m.executions.waiting != m.executions.ready.length+parked || m.load.Load() != int64(m.executions.waiting+len(m.executions.sent)) {
		t.Fatalf("counted %d queued and load %d; there are %d in the queue, %d parked, %d sent",
			m.executions.waiting, m.load.Load(), m.executions.ready.length, parked, len(m.executions.sent))
	}
	for id, e := range m.executions.sent {
		if e.ended.Load() {
			t.Fatalf("%d is kept among those sent, and has ended", id)
		}
	}
	if m.connected.Load() && m.credit.sent != w.peers[m].frames {
		t.Fatalf("counted %d frames on this stream, got %d", m.credit.sent, w.peers[m].frames)
	}
	if m.executions.waiting > 6 || m.credit.sent-m.credit.acknowledged > 2 {
		t.Fatalf("%d are queued, %d frames not acknowledged", m.executions.waiting, m.credit.sent-m.credit.acknowledged)
	}
	if !m.connected.Load() && m.load.Load() > 0 {
		t.Fatalf("a process without a stream holds %d executions", m.load.Load())
	}
	if m.is(roleGone) && m.connected.Load() {
		t.Fatal("a process is gone and still connected")
	}
}

// finish breaks the remaining streams and checks that each execution ended exactly once, with the expected result, and
// that no old generation is left.
func (w *machine) finish(t *rapid.T) {
	for _, m := range w.members {
		w.lose(m, context.Canceled)
	}
	for n, entry := range w.all {
		w.checkEnd(t, n, entry)
	}
	for _, x := range w.exchanges {
		if !x.ended {
			x.metadata.End()
		}
	}
	if w.group.sweep(w.now) {
		t.Fatal("a process is leaving still, although no exchange is under way")
	}
	for _, g := range w.known {
		if count := g.exchanges.Load(); count != 0 {
			t.Fatalf("generation %d counts %d exchanges, and all have ended", g.number, count)
		}
	}
}

func (w *machine) checkEnd(t *rapid.T, n int, entry *tracked) {
	ends := 0
	if entry.refused != nil {
		ends++
	}
	if entry.abandoned {
		ends++
	}
	select {
	case result := <-entry.answers:
		ends++
		w.checkResult(t, n, entry, result)
	default:
	}
	if ends != 1 || entry.sent > 1+min(entry.refusals, 1) {
		t.Fatalf("execution %d ended %d times and was sent %d times", n, ends, entry.sent)
	}
}

func (w *machine) checkResult(t *rapid.T, n int, entry *tracked, result outcome) {
	switch crashed := result.err != nil && v1alpha.AsFailure(result.err).Class == v1alpha.ClassCrashed; {
	case result.action != nil && result.action.Id != entry.id:
		t.Fatalf("execution %d, id %d, got the answer of %d", n, entry.id, result.action.Id)
	case result.action != nil && entry.lost:
		t.Fatalf("execution %d got an answer after its stream broke", n)
	case crashed != entry.lost:
		t.Fatalf("execution %d: its stream broke: %v, but it ended with %v", n, entry.lost, result.err)
	case entry.sent == 0 && result.err == nil:
		t.Fatalf("execution %d was answered and never sent", n)
	}
}

func (w *machine) steps() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"submit": w.submit, "submit more": w.submit, "connect": w.connect, "break": w.breakStream, "end stream": w.endStream,
		"frame": w.frame, "frame more": w.frame, "acknowledge": w.acknowledge, "acknowledge more": w.acknowledge,
		"answer": w.answer, "answer again": w.answerAgain, "refuse": w.refuse, "answer more": w.answer, "report instance": w.reportInstance,
		"report instance more": w.reportInstance, "retry": w.retry, "abandon": w.abandon, "pass": w.pass, "": w.check,
	}
}

func TestEveryExecutionEndsExactlyOnce(t *testing.T) {
	property.Check(t, func(t *rapid.T) {
		w := newMachine()
		if rapid.Bool().Draw(t, "all ready") {
			w.makeAllReady(t)
		}
		t.Repeat(w.steps())
		w.finish(t)
	})
}

func TestAnExchangeStaysWithItsGeneration(t *testing.T) {
	crossed := 0
	property.Check(t, func(t *rapid.T) {
		w := newMachine()
		w.makeAllReady(t)
		steps := w.steps()
		for name, step := range map[string]func(*rapid.T){
			"renew": w.renew, "change": w.finishRenewal, "change more": w.finishRenewal, "make all ready": w.makeAllReady, "sweep": w.sweep,
			"sweep more": w.sweep, "keep": w.keep, "end": w.endExchange, "end more": w.endExchange,
		} {
			steps[name] = step
		}
		if rapid.IntRange(0, 2).Draw(t, "calm") > 0 { // else few generations would stay undisturbed
			for _, name := range []string{"break", "end stream", "refuse"} {
				delete(steps, name)
			}
		}
		t.Repeat(steps)
		crossed += int(w.generations.current.Load().number) - 1
		w.finish(t)
	})
	if crossed == 0 {
		t.Fatal("no run got as far as a second generation")
	}
}
