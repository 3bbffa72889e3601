package pythonbridge

import (
	"fmt"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
)

// The part of StreamManager that handles streamed bodies.

// acceptPieces receives the output of streams, and the credit for their bodies. Pieces for an execution that is not
// under way, because it was cancelled for example, are dropped.
func (m *StreamManager) acceptPieces(frame *executorv1.ReplyFrame) error {
	for _, piece := range frame.GetPieces() {
		e := m.executions.sentStream(piece.GetId())
		if e == nil {
			continue
		}
		if err := m.pieces.receive(e, piece.GetData()); err != nil {
			return fmt.Errorf("execution %d: %w", piece.GetId(), err)
		}
		notify(e.body.changed)
	}
	for _, credit := range frame.GetCredit() {
		e := m.executions.sentStream(credit.GetId())
		if e == nil {
			continue
		}
		sendable, err := m.pieces.addCredit(e, int(credit.GetBytes()))
		if err != nil {
			return fmt.Errorf("execution %d: %w", credit.GetId(), err)
		}
		if sendable {
			m.sender.wake()
		}
	}
	return nil
}

// startAcknowledged releases the bodies of the streams whose frames the process has acknowledged.
func (m *StreamManager) startAcknowledged() {
	for _, e := range m.executions.removeRead(m.credit.acknowledged) {
		e.body.started = true
		notify(e.body.changed)
	}
}

// offerChunk queues a chunk of a stream's body. more: the stream goes on; full: the caller waits for room before it
// asks for another chunk.
func (m *StreamManager) offerChunk(e *execution, chunk []byte) (more, full bool) {
	if len(chunk) == 0 {
		return true, false
	}
	m.mu.Lock()
	if e.ended.Load() {
		m.mu.Unlock()
		return false, false
	}
	sendable := m.pieces.offer(e, chunk)
	full = e.body.out.full()
	m.mu.Unlock()
	if sendable {
		m.sender.wake() // and the feeder continues, so that chunks that come together travel together
	}
	return true, full
}

// endBody ends the body of a stream.
func (m *StreamManager) endBody(e *execution, trailers []byte) {
	m.mu.Lock()
	sendable := !e.ended.Load() && m.pieces.end(e, trailers)
	m.mu.Unlock()
	if sendable {
		m.sender.wake()
	}
}

// nextEvent returns the next piece of a stream's output, and gives its size back as credit.
func (m *StreamManager) nextEvent(e *execution) streamEvent {
	m.mu.Lock()
	if e.home.Load() != m { // the execution has moved meanwhile
		m.mu.Unlock()
		return streamEvent{}
	}
	started := e.body.started
	piece, any, owes := m.pieces.pop(e)
	m.mu.Unlock()
	if owes {
		m.sender.wake()
	}
	return streamEvent{started: started, piece: piece, any: any}
}
