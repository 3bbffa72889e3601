package pythonbridge

import (
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/policy-engine/internal/property"
	"gatewright.dev/sdk/policy/v1alpha"
)

// loosePlacement is a placement without a process.
func loosePlacement(state placementState) *placement {
	p := &placement{instance: newInstance(&executorv1.ConfigureInstance{PolicyName: "p"})}
	p.setState(state)
	return p
}

func due(in time.Duration) *execution {
	return &execution{deadline: time.Unix(0, 0).Add(in), size: messageOverhead, answers: make(chan outcome, 1)}
}

// queueModel is a simple model of an executionQueue.
type queueModel struct {
	executionQueue
	ready, parked []*execution
	sent          map[uint64]*execution
	cancelled     []uint64
	frames        uint64
	now           time.Time
	placed        [2]*placement // one is ready, one is not
}

func newQueueModel() *queueModel {
	return &queueModel{executionQueue: newExecutionQueue(), sent: map[uint64]*execution{}, now: time.Unix(0, 0),
		placed: [2]*placement{loosePlacement(stateReady), loosePlacement(stateWaiting)}}
}

func (w *queueModel) add(t *rapid.T) {
	e := &execution{deadline: w.now.Add(time.Duration(rapid.IntRange(1, 5).Draw(t, "timeout")) * time.Second),
		size: rapid.SampledFrom([]int{1, 100 << 10, 200 << 10}).Draw(t, "size"), alone: rapid.Bool().Draw(t, "alone"), answers: make(chan outcome, 1)}
	if rapid.Bool().Draw(t, "ready") {
		w.executionQueue.add(e, w.placed[0])
		w.ready = append(w.ready, e)
	} else {
		w.executionQueue.add(e, w.placed[1])
		w.parked = append(w.parked, e)
	}
}

func (w *queueModel) unpark(*rapid.T) {
	w.placed[1].markReady()
	w.executionQueue.unpark(w.placed[1])
	w.placed[1] = loosePlacement(stateWaiting)
	w.ready, w.parked = append(w.ready, w.parked...), nil
}

func (w *queueModel) withdraw(t *rapid.T) {
	all := append(slices.Clone(w.ready), w.parked...)
	for _, id := range slices.Sorted(maps.Keys(w.sent)) {
		all = append(all, w.sent[id])
	}
	if len(all) == 0 {
		return
	}
	e, timedOut := rapid.SampledFrom(all).Draw(t, "execution"), rapid.Bool().Draw(t, "timed out")
	e.ended.Store(true)
	before, wasSent := len(w.timedOut), w.sent[e.message.GetId()] == e
	if got := w.executionQueue.withdraw(e, timedOut); got != wasSent {
		t.Fatalf("expected it to have been sent: %v, got %v", wasSent, got)
	}
	if added := len(w.timedOut) - before; (added == 1) != (wasSent && timedOut) {
		t.Fatalf("%d were noted as timed out; sent: %v, timed out: %v", added, wasSent, timedOut)
	}
	if wasSent {
		delete(w.sent, e.message.GetId())
		w.cancelled = append(w.cancelled, e.message.GetId())
	}
	isIt := func(other *execution) bool { return other == e }
	w.ready, w.parked = slices.DeleteFunc(w.ready, isIt), slices.DeleteFunc(w.parked, isIt)
}

// frame checks that executions go into a frame in order, fit, and are left out if late.
func (w *queueModel) frame(t *rapid.T) {
	w.frames++
	frame := &executorv1.RequestFrame{}
	w.fillFrame(frame, 0, w.frames, w.now)
	if !slices.Equal(frame.Cancel, w.cancelled) {
		t.Fatalf("expected %v to be cancelled, got %v", w.cancelled, frame.Cancel)
	}
	w.cancelled = nil
	size := 0
	for _, message := range frame.Executions {
		for len(w.ready) > 0 && !w.ready[0].deadline.After(w.now) {
			w.dropLate(t)
		}
		e := w.ready[0]
		if w.ready = w.ready[1:]; &e.message != message || e.frame != w.frames {
			t.Fatalf("an execution was overtaken, or has frame %d instead of %d", e.frame, w.frames)
		}
		if size += e.size; len(frame.Executions) > 1 && (size > maxFrameBytes || e.alone && message != frame.Executions[0]) {
			t.Fatalf("a frame holds %d bytes, or two of which one travels alone", size)
		}
		w.sent[message.GetId()] = e
	}
	for len(w.ready) > 0 && w.ready[0].ended.Load() {
		w.dropLate(t)
	}
	if len(frame.Executions) == 0 && len(w.ready) > 0 {
		t.Fatal("an empty frame was left empty, and something was ready")
	}
}

func (w *queueModel) dropLate(t *rapid.T) {
	select {
	case result := <-w.ready[0].answers:
		if result.err == nil || v1alpha.AsFailure(result.err).Class != v1alpha.ClassTimeout {
			t.Fatalf("expected what is late to end as a timeout, got %v", result)
		}
	default:
		t.Fatal("an execution was left out of its frame, and has not ended")
	}
	w.ready = w.ready[1:]
}

func (w *queueModel) answer(t *rapid.T) {
	ids := append([]uint64{0, 1 << 40}, slices.Sorted(maps.Keys(w.sent))...)
	id, dropped := rapid.SampledFrom(ids).Draw(t, "id"), w.droppedAnswers
	if got := w.removeAnswered(id); got != w.sent[id] || (got == nil) != (w.droppedAnswers == dropped+1) {
		t.Fatalf("expected %v for %d, got %v; %d answers were dropped before, now %d", w.sent[id], id, got, dropped, w.droppedAnswers)
	}
	delete(w.sent, id)
}

func (w *queueModel) breakOff(t *rapid.T) {
	sent, ready := w.reset()
	if len(sent) != len(w.sent) || !slices.Equal(ready, w.ready) {
		t.Fatalf("expected %d sent and %d ready, got %d and %d", len(w.sent), len(w.ready), len(sent), len(ready))
	}
	w.ready, w.sent, w.cancelled = nil, map[uint64]*execution{}, nil
}

func (w *queueModel) check(t *rapid.T) {
	if waiting := len(w.ready) + len(w.parked); w.waiting != waiting || w.load() != waiting+len(w.sent) {
		t.Fatalf("expected %d to wait and a load of %d, got %d and %d", waiting, waiting+len(w.sent), w.waiting, w.load())
	}
}

func TestExecutionQueueKeepsOrderAndCount(t *testing.T) {
	property.Check(t, func(t *rapid.T) {
		w := newQueueModel()
		t.Repeat(map[string]func(*rapid.T){
			"add": w.add, "add more": w.add, "unpark": w.unpark, "withdraw": w.withdraw, "frame": w.frame, "answer": w.answer,
			"break": w.breakOff, "pass": func(*rapid.T) { w.now = w.now.Add(time.Second) }, "": w.check,
		})
	})
}

func TestExecutionsOfAClosedInstanceEnd(t *testing.T) {
	q, p, e := newExecutionQueue(), loosePlacement(stateReady), due(time.Second)
	q.add(e, p)
	p.setState(stateClosed)
	frame := &executorv1.RequestFrame{}
	if q.fillFrame(frame, 0, 1, time.Unix(0, 0)); len(frame.Executions) != 0 || q.load() != 0 {
		t.Fatalf("expected nothing to be sent and nothing to be left, got %d and %d", len(frame.Executions), q.load())
	}
	wantClass(t, await.Receive(t, e.answers, "the refusal").err, v1alpha.ClassUnavailable)
}

func TestTheLongestTimeoutIsBounded(t *testing.T) {
	q, p := newExecutionQueue(), loosePlacement(stateReady)
	for _, timeout := range []time.Duration{time.Second, time.Hour, time.Minute / 2} {
		q.add(due(timeout), p)
	}
	frame := &executorv1.RequestFrame{}
	q.fillFrame(frame, 0, 1, time.Unix(0, 0))
	if got := frame.Executions[1].TimeoutUs; q.longestTimeout != longestExchange || time.Duration(got)*time.Microsecond != longestExchange {
		t.Fatalf("expected %s, got %s and %d µs", longestExchange, q.longestTimeout, got)
	}
}

func TestIdsAreNotUsedAgainOnTheNextStream(t *testing.T) {
	q, p := newExecutionQueue(), loosePlacement(stateReady)
	for want := uint64(1); want <= 3; want++ {
		q.add(due(time.Second), p)
		frame := &executorv1.RequestFrame{}
		if q.fillFrame(frame, 0, 1, time.Unix(0, 0)); frame.Executions[0].Id != want {
			t.Fatalf("expected id %d, got %d", want, frame.Executions[0].Id)
		}
		q.reset()
	}
}
