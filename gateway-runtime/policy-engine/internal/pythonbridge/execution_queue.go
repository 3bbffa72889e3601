package pythonbridge

import (
	"slices"
	"time"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
)

// executionQueue holds the executions of one process: those that wait (for a frame; or parked at their placement, while
// it is being configured), and those that were sent and not answered. The mutex of its StreamManager guards it.
type executionQueue struct {
	ready          fifo                   // for the next frame
	waiting        int                    // in ready, and parked at their placements
	sent           map[uint64]*execution  // by id; not answered yet
	unread         []*execution           // streams that were sent in frames which the process has not acknowledged
	cancelled      []uint64               // ids of sent executions whose waiter has stopped; for the next frame
	timedOut       []*executorv1.TimedOut // those of the cancelled whose deadline has passed
	lastID         uint64                 // never reused, not even on another stream
	longestTimeout time.Duration          // of all executions sent so far
	totalSent      uint64
	droppedAnswers uint64 // to executions without a waiter
}

func newExecutionQueue() executionQueue { return executionQueue{sent: map[uint64]*execution{}} }

// load is the number of executions that wait, or were sent and not answered.
func (q *executionQueue) load() int { return q.waiting + len(q.sent) }

// add queues an execution of a placement; it is parked if the placement is not ready.
func (q *executionQueue) add(e *execution, p *placement) {
	e.at = p
	q.waiting++
	if p.is(stateReady) {
		q.ready.push(e)
	} else {
		p.parked.push(e)
	}
}

// unpark moves the executions that waited for a placement to ready.
func (q *executionQueue) unpark(p *placement) {
	for e := p.parked.pop(); e != nil; e = p.parked.pop() {
		q.ready.push(e)
	}
}

// removeAll empties ready, or the executions parked at a placement.
func (q *executionQueue) removeAll(from *fifo) (removed []*execution) {
	for e := from.pop(); e != nil; e = from.pop() {
		q.waiting--
		removed = append(removed, e)
	}
	return removed
}

// withdraw removes an execution that has ended for its waiter, and reports whether it had been sent: then the next
// frame cancels it.
func (q *executionQueue) withdraw(e *execution, timedOut bool) (wasSent bool) {
	id := e.message.GetId()
	switch {
	case e.queue != nil:
		e.queue.remove(e)
		q.waiting--
		return false
	case q.sent[id] != e:
		return false
	}
	q.removeSent(e)
	q.cancelled = append(q.cancelled, id)
	if timedOut {
		m := &e.message
		q.timedOut = append(q.timedOut, &executorv1.TimedOut{Id: id, Instance: m.GetInstance(), Phase: m.GetPhase(),
			TimeoutUs: m.GetTimeoutUs(), RequestId: m.GetRequestId(), Operation: m.GetOperation()})
	}
	return true
}

// removeAnswered removes and returns the sent execution with that id; nil if it has no waiter (any more).
func (q *executionQueue) removeAnswered(id uint64) *execution {
	e, ok := q.sent[id]
	if !ok {
		q.droppedAnswers++
		return nil
	}
	q.removeSent(e)
	return e
}

func (q *executionQueue) removeSent(e *execution) {
	delete(q.sent, e.message.GetId())
	if e.body != nil && !e.body.started {
		q.unread = slices.DeleteFunc(q.unread, func(other *execution) bool { return other == e })
	}
}

// streams is the number of sent executions that stream a body.
func (q *executionQueue) streams() (count int) {
	for _, e := range q.sent {
		if e.body != nil {
			count++
		}
	}
	return count
}

// sentStream returns the sent execution with that id if it streams a body, else nil.
func (q *executionQueue) sentStream(id uint64) *execution {
	if e := q.sent[id]; e != nil && e.body != nil {
		return e
	}
	return nil
}

// removeRead removes and returns the streams whose frames, up to this one, the process has read from unread.
func (q *executionQueue) removeRead(frame uint64) (read []*execution) {
	count := 0
	for count < len(q.unread) && q.unread[count].frame <= frame {
		count++
	}
	read, q.unread = q.unread[:count:count], q.unread[count:]
	return read
}

// reset ends a stream: it removes the executions that were sent on it or ready for it, but not the parked ones.
func (q *executionQueue) reset() (sent map[uint64]*execution, ready []*execution) {
	sent, q.sent = q.sent, map[uint64]*execution{}
	q.cancelled, q.timedOut, q.unread = nil, nil, nil
	return sent, q.removeAll(&q.ready)
}

// fillFrame moves ready executions, and cancellations, into the frame with that number, which holds size bytes already.
// It returns the new size. Executions that have ended or are late are dropped.
func (q *executionQueue) fillFrame(frame *executorv1.RequestFrame, size int, number uint64, now time.Time) int {
	frame.Cancel, q.cancelled = q.cancelled, nil
	frame.TimedOut, q.timedOut = q.timedOut, nil
	for e := q.ready.head; e != nil && fits(frame, size, e); e = q.ready.head {
		q.ready.remove(e)
		q.waiting--
		if !q.markSent(e, number, now) {
			continue
		}
		size += e.size
		frame.Executions = append(frame.Executions, &e.message)
		if e.alone {
			break
		}
	}
	return size
}

// fits reports whether e may go into a frame that holds size bytes. An empty frame takes any execution.
func fits(frame *executorv1.RequestFrame, size int, e *execution) bool {
	return size == 0 || (len(frame.Executions) < maxFrameExecutions && size+e.size <= maxFrameBytes && !e.alone)
}

// markSent adds e to the sent executions, unless its waiter has stopped, it is late, or its instance was closed.
func (q *executionQueue) markSent(e *execution, frame uint64, now time.Time) bool {
	left := e.deadline.Sub(now)
	switch {
	case e.ended.Load():
		return false
	case left < time.Microsecond:
		e.finish(outcome{err: failTimeout})
		return false
	case !e.at.is(stateReady):
		e.finish(outcome{err: failClosed})
		return false
	}
	q.lastID++
	q.totalSent++
	e.message.Source = 0
	if e.body != nil {
		left = e.body.timeout // restarts with each of its chunks
		e.message.Source = q.sourceOf(e)
	}
	left = min(left, longestExchange)
	e.message.Id, e.message.Instance = q.lastID, e.at.number
	e.message.TimeoutUs = uint32(left / time.Microsecond)
	e.frame = frame
	q.sent[q.lastID] = e
	q.longestTimeout = max(q.longestTimeout, left)
	if e.body != nil {
		q.unread = append(q.unread, e)
	}
	return true
}

// sourceOf returns the id of the stream's source, if that is under way in this process; else 0.
func (q *executionQueue) sourceOf(e *execution) uint64 {
	source := e.body.source
	if source == nil || e.body.isApartFrom(e.home.Load()) || q.sent[source.message.GetId()] != source {
		return 0
	}
	return source.message.GetId()
}

// fifo is a queue from which any execution can be removed. An execution is in at most one.
type fifo struct {
	head, tail *execution
	length     int
}

func (q *fifo) push(e *execution) {
	e.queue, e.prev, e.next = q, q.tail, nil
	if q.tail == nil {
		q.head = e
	} else {
		q.tail.next = e
	}
	q.tail = e
	q.length++
}

func (q *fifo) remove(e *execution) {
	if e.prev == nil {
		q.head = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next == nil {
		q.tail = e.prev
	} else {
		e.next.prev = e.prev
	}
	e.queue, e.prev, e.next = nil, nil, nil
	q.length--
}

// pop returns the first execution, or nil.
func (q *fifo) pop() *execution {
	first := q.head
	if first != nil {
		q.remove(first)
	}
	return first
}
