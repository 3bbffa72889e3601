package pythonbridge

import (
	"fmt"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
)

// What a StreamManager does for executions that are streams.

// acceptPieces takes in what streams yield, and the credit for what they are given. What comes for an execution that is not
// under way, as it has been cancelled, say, is dropped.
func (m *StreamManager) acceptPieces(frame *executorv1.ReplyFrame) error {
	for _, piece := range frame.GetPieces() {
		e := m.executions.sentStream(piece.GetId())
		if e == nil {
			continue
		}
		if err := m.pieces.receive(e, piece.GetData()); err != nil {
			return fmt.Errorf("execution %d: %w", piece.GetId(), err)
		}
		notify(e.body.news)
	}
	for _, credit := range frame.GetCredit() {
		e := m.executions.sentStream(credit.GetId())
		if e == nil {
			continue
		}
		sendable, err := m.pieces.give(e, int(credit.GetBytes()))
		if err != nil {
			return fmt.Errorf("execution %d: %w", credit.GetId(), err)
		}
		if sendable {
			m.sender.wake()
		}
	}
	return nil
}

// startAcknowledged lets the bodies go of the streams that the process has taken in.
func (m *StreamManager) startAcknowledged() {
	for _, e := range m.executions.removeRead(m.credit.acknowledged) {
		e.body.started = true
		notify(e.body.news)
	}
}

// offerChunk adds a chunk to what waits for a stream. more says whether the stream goes on, full that no other chunk is to
// be asked for before there is room.
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
		m.sender.wake() // and the feeder goes on: what it is given at once travels together
	}
	return true, full
}

// endBody ends what a stream is given.
func (m *StreamManager) endBody(e *execution, trailers []byte) {
	m.mu.Lock()
	sendable := !e.ended.Load() && m.pieces.end(e, trailers)
	m.mu.Unlock()
	if sendable {
		m.sender.wake()
	}
}

// takeNews takes the next piece of what a stream yields. What is taken is given back as credit.
func (m *StreamManager) takeNews(e *execution) news {
	m.mu.Lock()
	if e.home.Load() != m { // it has moved meanwhile
		m.mu.Unlock()
		return news{}
	}
	started := e.body.started
	piece, any, owes := m.pieces.take(e)
	m.mu.Unlock()
	if owes {
		m.sender.wake()
	}
	return news{started: started, piece: piece, any: any}
}
