package pythonbridge

import (
	"context"
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/sdk/policy/v1alpha"
)

// machine drives a group of two processes by hand, without streams and with a clock of its own, and remembers what
// each execution must come to.
type machine struct {
	group     *group
	instances []*instance
	now       time.Time
	peers     [2]peer
	all       []*tracked
	byMessage map[*executorv1.Execution]*tracked
}

// peer is what the executor of one process knows.
type peer struct {
	stream   int      // how many there were
	frames   uint64   // of the present stream
	taken    uint64   // of these, acknowledged
	asked    []uint32 // instances that wait for their status
	answered []uint64 // ids that have had an answer, or whose stream broke
	open     []uint64
}

type tracked struct {
	*execution
	refused   error
	abandoned bool
	sent      int
	sentTo    int
	stream    int
	frame     uint64
	id        uint64
	refusals  int  // by a process that did not start it
	lost      bool // its stream broke while it was under way
}

func newMachine() *machine {
	options := Options{QueueLength: 6, CreditFrames: 2}.withDefaults()
	w := &machine{now: time.Now(), byMessage: map[*executorv1.Execution]*tracked{}}
	w.group = newGroup(context.Background(), "g", []string{"unix:/a", "unix:/b"}, options, quiet)
	for range 2 {
		i := newInstance(&executorv1.ConfigureInstance{}, 2)
		w.instances = append(w.instances, i)
		for _, process := range w.group.processes {
			process.serving.Store(true)
			process.add(i.placements[process.index])
		}
	}
	return w
}

func (w *machine) drawProcess(t *rapid.T) *StreamManager {
	return w.group.processes[rapid.IntRange(0, 1).Draw(t, "process")]
}

func (w *machine) submit(t *rapid.T) {
	target := rapid.SampledFrom(w.instances).Draw(t, "instance")
	e := &execution{
		instance: target, answers: make(chan outcome, 1), size: messageRoom,
		deadline: w.now.Add(time.Duration(rapid.IntRange(1, 50).Draw(t, "timeout")) * time.Millisecond),
		alone:    rapid.Bool().Draw(t, "alone"),
	}
	entry := &tracked{execution: e}
	w.all = append(w.all, entry)
	w.byMessage[&e.message] = entry
	entry.refused = w.group.submit(e)
}

func (w *machine) connect(t *rapid.T) { w.attach(w.drawProcess(t)) }

func (w *machine) attach(m *StreamManager) {
	if !m.connected.Load() {
		m.attach(&executorv1.Hello{})
		w.peers[m.index].stream++
		w.peers[m.index].frames, w.peers[m.index].taken = 0, 0
	}
}

func (w *machine) breakOff(t *rapid.T) { w.lose(w.drawProcess(t), context.Canceled) }

// endStream is orderly: what was not taken in was never started, and may be sent to another process.
func (w *machine) endStream(t *rapid.T) { w.lose(w.drawProcess(t), errStreamEnded) }

func (w *machine) lose(m *StreamManager, cause error) {
	if !m.connected.Load() {
		return
	}
	p := &w.peers[m.index]
	for _, entry := range w.all {
		switch underWay := entry.sent > entry.refusals && entry.sentTo == m.index && !entry.ended.Load(); {
		case underWay && errors.Is(cause, errStreamEnded) && entry.frame > p.taken:
			entry.lost = entry.refusals > 0
			entry.refusals++
		case underWay:
			entry.lost = true
		}
	}
	m.detach(cause)
	p.answered, p.open, p.asked = append(p.answered, p.open...), nil, nil
}

func (w *machine) frame(t *rapid.T) { w.take(t, w.drawProcess(t)) }

func (w *machine) take(t *rapid.T, m *StreamManager) {
	frame := &executorv1.RequestFrame{}
	if !m.takeFrame(frame, w.now) {
		return
	}
	p := &w.peers[m.index]
	p.frames++
	for _, configure := range frame.Configure {
		p.asked = append(p.asked, configure.Instance)
	}
	for _, message := range frame.Executions {
		entry := w.byMessage[message]
		entry.sent++
		entry.sentTo, entry.id, entry.stream, entry.frame = m.index, message.Id, p.stream, p.frames
		p.open = append(p.open, message.Id)
		if number := entry.instance.placements[m.index]; !number.is(stateReady) || number.number != message.Instance {
			t.Fatalf("an execution was sent for an instance that is not ready")
		}
	}
	w.checkCancels(t, m, frame.Cancel)
}

func (w *machine) checkCancels(t *rapid.T, m *StreamManager, ids []uint64) {
	for _, id := range ids {
		known := false
		for _, entry := range w.all {
			known = known || (entry.sentTo == m.index && entry.stream == w.peers[m.index].stream && entry.id == id && entry.abandoned)
		}
		if !known {
			t.Fatalf("%d was cancelled, which nobody gave up on this stream", id)
		}
	}
}

func (w *machine) acknowledge(t *rapid.T) {
	m := w.drawProcess(t)
	takenIn := uint64(rapid.IntRange(0, int(w.peers[m.index].frames)).Draw(t, "taken in"))
	w.peers[m.index].taken = max(w.peers[m.index].taken, takenIn)
	w.accept(t, m, &executorv1.ReplyFrame{FramesTakenIn: takenIn})
}

func (w *machine) answer(t *rapid.T) { w.answerWith(t, nil) }

// refuse answers that an execution was not started. Only then may it be sent again.
func (w *machine) refuse(t *rapid.T) {
	w.answerWith(t, &executorv1.Failure{FailureClass: executorv1.FailureClass_FAILURE_CLASS_UNAVAILABLE})
}

func (w *machine) answerWith(t *rapid.T, failure *executorv1.Failure) {
	m := w.drawProcess(t)
	p := &w.peers[m.index]
	if len(p.open) == 0 {
		return
	}
	at := rapid.IntRange(0, len(p.open)-1).Draw(t, "which")
	id := p.open[at]
	p.open = append(p.open[:at:at], p.open[at+1:]...)
	p.answered = append(p.answered, id)
	for _, entry := range w.all {
		if failure != nil && entry.sentTo == m.index && entry.id == id {
			entry.refusals++
		}
	}
	w.accept(t, m, &executorv1.ReplyFrame{Actions: []*executorv1.Action{{Id: id, Failure: failure}}})
}

func (w *machine) answerAgain(t *rapid.T) {
	m := w.drawProcess(t)
	ids := append([]uint64{0, 1 << 40}, w.peers[m.index].answered...)
	w.accept(t, m, &executorv1.ReplyFrame{Actions: []*executorv1.Action{{Id: rapid.SampledFrom(ids).Draw(t, "id")}}})
}

// begin brings both processes to where everything is ready, so that runs spend their steps on what can go wrong.
func (w *machine) begin(t *rapid.T) {
	for _, m := range w.group.processes {
		w.attach(m)
		w.take(t, m)
		for _, number := range w.peers[m.index].asked {
			w.peers[m.index].taken = 1
			w.accept(t, m, &executorv1.ReplyFrame{FramesTakenIn: 1, Instances: []*executorv1.InstanceStatus{{Instance: number}}})
		}
		w.peers[m.index].asked = nil
	}
}

func (w *machine) settle(t *rapid.T) {
	m := w.drawProcess(t)
	p := &w.peers[m.index]
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
		entry.abandoned = (entry.refused == nil && entry.abandon()) || entry.abandoned
	}
}

func (w *machine) pass(t *rapid.T) {
	w.now = w.now.Add(time.Duration(rapid.IntRange(1, 40).Draw(t, "ms")) * time.Millisecond)
}

// check holds after every step.
func (w *machine) check(t *rapid.T) {
	for _, m := range w.group.processes {
		parked := 0
		for _, i := range w.instances {
			parked += i.placements[m.index].parked.length
		}
		if m.queued != m.queue.length+parked || m.load.Load() != int64(m.queued+len(m.sent)) {
			t.Fatalf("counted %d queued and load %d; there are %d in the queue, %d parked, %d sent",
				m.queued, m.load.Load(), m.queue.length, parked, len(m.sent))
		}
		for id, e := range m.sent {
			if e.ended.Load() {
				t.Fatalf("%d is kept among those sent, and has ended", id)
			}
		}
		if m.connected.Load() && m.framesSent != w.peers[m.index].frames {
			t.Fatalf("counted %d frames on this stream, got %d", m.framesSent, w.peers[m.index].frames)
		}
		if m.queued > 6 || m.framesSent-m.framesTakenIn > 2 {
			t.Fatalf("%d are queued, %d frames not taken in", m.queued, m.framesSent-m.framesTakenIn)
		}
		if !m.connected.Load() && m.load.Load() > 0 {
			t.Fatalf("a process without a stream holds %d executions", m.load.Load())
		}
	}
}

// finish breaks what is left and checks that each execution ended exactly once, and as it must.
func (w *machine) finish(t *rapid.T) {
	for _, m := range w.group.processes {
		w.lose(m, context.Canceled)
	}
	for n, entry := range w.all {
		w.checkEnd(t, n, entry)
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

func TestEveryExecutionEndsExactlyOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newMachine()
		if rapid.Bool().Draw(t, "begin ready") {
			w.begin(t)
		}
		t.Repeat(map[string]func(*rapid.T){
			"submit": w.submit, "submit more": w.submit, "connect": w.connect, "break": w.breakOff, "end": w.endStream, "frame": w.frame,
			"frame more": w.frame, "acknowledge": w.acknowledge, "acknowledge more": w.acknowledge, "answer": w.answer, "answer again": w.answerAgain, "refuse": w.refuse,
			"answer more": w.answer, "settle": w.settle, "settle more": w.settle, "retry": w.retry, "abandon": w.abandon, "pass": w.pass, "": w.check,
		})
		w.finish(t)
	})
}
