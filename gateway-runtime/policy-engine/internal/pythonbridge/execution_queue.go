package pythonbridge

import (
	"time"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
)

// takeFrame fills frame with what waits, up to the caps, and reports whether it is to be sent: there is something,
// and fewer frames than the credit are sent and not taken in. What a frame takes counts as sent.
func (m *StreamManager) takeFrame(frame *executorv1.RequestFrame, now time.Time) bool {
	emptyFrame(frame)
	m.mu.Lock()
	defer m.unlock()
	if !m.connected.Load() || m.framesSent-m.framesAcknowledged >= uint64(m.options.CreditFrames) {
		return false
	}
	size := m.takeConfigures(frame)
	m.takeExecutions(frame, size, now)
	frame.Cancel, m.cancels = m.cancels, nil
	frame.TimedOut, m.timedOut = m.timedOut, nil
	frame.Close, m.closes = m.closes, nil
	if len(frame.Configure)+len(frame.Executions)+len(frame.Cancel)+len(frame.Close) == 0 {
		return false
	}
	m.framesSent++
	m.counts.frames++
	return true
}

// idle reports whether the process has taken in all that was sent.
func (m *StreamManager) idle() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.framesSent == m.framesAcknowledged
}

// emptyFrame keeps the room of the frame that was sent last.
func emptyFrame(frame *executorv1.RequestFrame) {
	clear(frame.Configure)
	clear(frame.Executions)
	frame.Configure, frame.Executions = frame.Configure[:0], frame.Executions[:0]
	frame.Cancel, frame.TimedOut, frame.Close = nil, nil, nil
}

func (m *StreamManager) takeConfigures(frame *executorv1.RequestFrame) (size int) {
	for len(m.unsent) > 0 && size < maxFrameBytes {
		p := m.unsent[0]
		m.unsent = m.unsent[1:]
		p.await(stateAsked)
		message := p.message()
		size += len(message.Parameters) + len(message.SystemParameters) + 128
		frame.Configure = append(frame.Configure, message)
	}
	return size
}

func (m *StreamManager) takeExecutions(frame *executorv1.RequestFrame, size int, now time.Time) {
	for e := m.queue.head; e != nil && fits(frame, size, e); e = m.queue.head {
		m.queue.remove(e)
		m.queued--
		if !m.send(e, now) {
			continue
		}
		size += e.size
		frame.Executions = append(frame.Executions, &e.message)
		if e.alone {
			return
		}
	}
}

// fits reports whether e may go into a frame that holds size bytes. Into an empty one it always may.
func fits(frame *executorv1.RequestFrame, size int, e *execution) bool {
	return size == 0 || (len(frame.Executions) < maxFrameExecutions && size+e.size <= maxFrameBytes && !e.alone)
}

// send makes e one of those sent, unless nobody waits for it, its time is up, or its instance was closed.
func (m *StreamManager) send(e *execution, now time.Time) bool {
	left := e.deadline.Sub(now)
	p := e.at
	switch {
	case e.ended.Load():
		return false
	case left < time.Microsecond:
		e.finish(outcome{err: failTimeout})
		return false
	case !p.is(stateReady):
		e.finish(outcome{err: failClosed})
		return false
	}
	m.lastID++
	e.message.Id, e.message.Instance = m.lastID, p.number
	e.message.TimeoutUs = uint32(min(left, longestExchange) / time.Microsecond)
	m.sent[m.lastID], e.frame = e, m.framesSent+1
	m.counts.executions++
	m.longestTimeout = max(m.longestTimeout, min(left, longestExchange))
	return true
}
