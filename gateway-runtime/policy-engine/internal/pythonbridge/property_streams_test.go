package pythonbridge

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/policy-engine/internal/property"
)

// bodies is a machine's state of a streaming execution. Both bodies are one known sequence of bytes.
type bodies struct {
	offered, ended int // bytes, and 1 once the body has ended
	received, last int // by the executor
	given          int // bytes of these that it has given back as credit
	yielded, took  int // bytes
	mayYield       int // what the executor has left
	hasYielded     bool
}

const sequencePeriod = 251

var endlessSequence = func() []byte {
	sequence := make([]byte, 1<<20)
	for i := range sequence {
		sequence[i] = byte(i % sequencePeriod)
	}
	return sequence
}()

// sequenceAt is the bytes of the sequence from an offset on.
func sequenceAt(offset, size int) []byte {
	start := offset % sequencePeriod
	return endlessSequence[start : start+size : start+size]
}

func wantSequence(t *rapid.T, what string, offset int, data []byte) {
	if string(data) != string(sequenceAt(offset, len(data))) {
		t.Fatalf("%s: %d bytes at %d are not those that were given", what, len(data), offset)
	}
}

var pieceSizes = []int{1, 100, maxPieceBytes - 1, maxPieceBytes}

func (w *machine) drawStream(t *rapid.T, that func(*tracked) bool) *tracked {
	var all []*tracked
	for _, entry := range w.all {
		if entry.bodies != nil && that(entry) {
			all = append(all, entry)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return rapid.SampledFrom(all[max(0, len(all)-4):]).Draw(t, "stream")
}

func (entry *tracked) isStarted() bool { return !entry.ended.Load() && entry.body.started }

// isOpen reports whether the executor runs the stream, as far as it knows.
func (w *machine) isOpen(entry *tracked) bool {
	if entry.sentTo == nil || !entry.sentTo.connected.Load() || entry.stream != w.peers[entry.sentTo].stream {
		return false
	}
	for _, id := range w.peers[entry.sentTo].open {
		if id == entry.id {
			return true
		}
	}
	return false
}

// begun reports whether an execution can no longer move: it is a stream that was started, or that has yielded.
func (w *machine) begun(entry *tracked) bool {
	return entry.bodies != nil && (entry.bodies.hasYielded || entry.frame <= w.peers[entry.sentTo].acknowledged)
}

func (w *machine) submitStream(t *rapid.T) {
	w.submitWith(t, newBodyStream(time.Second))
}

func (w *machine) offerChunk(t *rapid.T) {
	entry := w.drawStream(t, func(e *tracked) bool { return e.isStarted() && e.bodies.ended == 0 && !e.body.out.full() })
	if entry == nil {
		return
	}
	size := rapid.SampledFrom(append([]int{maxPieceBytes + 1, 300 << 10}, pieceSizes...)).Draw(t, "size")
	more, full := entry.home.Load().offerChunk(entry.execution, sequenceAt(entry.bodies.offered, size))
	if !more || full != (entry.body.out.size >= maxWaitingBytes) {
		t.Fatalf("a running stream returned %v, and %v with %d bytes that wait", more, full, entry.body.out.size)
	}
	entry.bodies.offered += size
}

func (w *machine) endInput(t *rapid.T) {
	if entry := w.drawStream(t, func(e *tracked) bool { return e.isStarted() && e.bodies.ended == 0 }); entry != nil {
		entry.home.Load().endBody(entry.execution, nil)
		entry.bodies.ended = 1
	}
}

// readBodies checks the parts of a frame about streams.
func (w *machine) readBodies(t *rapid.T, m *StreamManager, frame *executorv1.RequestFrame) {
	size, short := 0, map[uint64]bool{}
	for _, piece := range frame.Pieces {
		entry := w.stream(m, piece.Id)
		if entry == nil || entry.ended.Load() {
			t.Fatalf("a piece was sent for %d, which is not under way", piece.Id)
		}
		b := entry.bodies
		switch {
		case short[piece.Id]:
			t.Fatalf("two pieces of %d in one frame could be one", piece.Id)
		case b.last > 0 || len(piece.Data) > maxPieceBytes || (len(piece.Data) == 0 && !piece.Last):
			t.Fatalf("a piece of %d bytes, last: %v, after the last: %v", len(piece.Data), piece.Last, b.last > 0)
		case b.received-b.given >= creditWindow:
			t.Fatalf("a piece was sent without credit: %d received, %d given back", b.received, b.given)
		}
		wantSequence(t, "input", b.received, piece.Data)
		b.received += len(piece.Data)
		size += len(piece.Data)
		short[piece.Id] = len(piece.Data) < maxPieceBytes
		if piece.Last {
			b.last = 1
		}
	}
	if size > maxFramePieceBytes {
		t.Fatalf("a frame holds %d bytes of pieces", size)
	}
	for _, credit := range frame.Credit {
		entry := w.stream(m, credit.Id)
		if entry == nil || entry.ended.Load() || credit.Bytes < creditGivenBack {
			t.Fatalf("%d bytes of credit were given to %d", credit.Bytes, credit.Id)
		}
		if entry.bodies.mayYield += int(credit.Bytes); entry.bodies.mayYield > creditWindow {
			t.Fatalf("more credit than the window: %d", entry.bodies.mayYield)
		}
	}
}

func (w *machine) stream(m *StreamManager, id uint64) *tracked {
	for _, entry := range w.all {
		if entry.bodies != nil && entry.sentTo == m && entry.id == id && entry.stream == w.peers[m].stream {
			return entry
		}
	}
	return nil
}

// yieldPiece makes the executor yield, perhaps for a stream that has been cancelled meanwhile.
func (w *machine) yieldPiece(t *rapid.T) {
	entry := w.drawStream(t, func(e *tracked) bool { return w.isOpen(e) && e.bodies.mayYield > 0 })
	if entry == nil {
		return
	}
	b, size := entry.bodies, rapid.SampledFrom(append([]int{0}, pieceSizes...)).Draw(t, "size")
	w.accept(t, entry.sentTo, &executorv1.ReplyFrame{Pieces: []*executorv1.Piece{{Id: entry.id, Data: sequenceAt(b.yielded, size)}}})
	b.hasYielded = true
	b.mayYield -= size
	b.yielded += size
}

func (w *machine) giveCredit(t *rapid.T) {
	entry := w.drawStream(t, func(e *tracked) bool { return w.isOpen(e) && e.bodies.received > e.bodies.given })
	if entry == nil {
		return
	}
	b := entry.bodies
	bytes := rapid.IntRange(1, b.received-b.given).Draw(t, "bytes")
	b.given += bytes
	w.accept(t, entry.sentTo, &executorv1.ReplyFrame{Credit: []*executorv1.Credit{{Id: entry.id, Bytes: uint32(bytes)}}})
}

func (w *machine) takePiece(t *rapid.T) {
	if entry := w.drawStream(t, func(e *tracked) bool { return !e.abandoned }); entry != nil {
		w.take(t, entry)
	}
}

func (w *machine) take(t *rapid.T, entry *tracked) (any bool) {
	next := entry.nextEvent()
	if next.started != entry.body.started && entry.home.Load() != nil {
		t.Fatal("the iterating goroutine did not learn that the stream was started")
	}
	wantSequence(t, "output", entry.bodies.took, next.piece)
	entry.bodies.took += len(next.piece)
	return next.any
}

// checkStreams verifies the invariants after every step.
func (w *machine) checkStreams(t *rapid.T) {
	for _, entry := range w.all {
		if entry.bodies == nil {
			continue
		}
		held := 0
		for _, piece := range entry.body.in.pieces {
			held += len(piece)
		}
		if held >= creditWindow+maxPieceBytes || entry.body.out.size > maxWaitingBytes+300<<10 {
			t.Fatalf("a stream holds %d bytes that came and %d that wait", held, entry.body.out.size)
		}
	}
}

// settle delivers everything under way, and checks that all of it has come.
func (w *machine) settle(t *rapid.T) {
	for again := true; again; {
		again = false
		for m, p := range w.peers {
			w.accept(t, m, &executorv1.ReplyFrame{FramesAcknowledged: p.frames})
			p.acknowledged = p.frames
			before := p.frames
			w.readFrame(t, m)
			again = again || p.frames > before
		}
		for _, entry := range w.all {
			if b := entry.bodies; b != nil && w.isOpen(entry) && b.received > b.given {
				bytes := b.received - b.given
				b.given = b.received
				w.accept(t, entry.sentTo, &executorv1.ReplyFrame{Credit: []*executorv1.Credit{{Id: entry.id, Bytes: uint32(bytes)}}})
				again = true
			}
			for entry.bodies != nil && !entry.abandoned && w.take(t, entry) {
				again = true
			}
		}
	}
	for n, entry := range w.all {
		b := entry.bodies
		if b == nil || !entry.isStarted() {
			continue
		}
		if b.received != b.offered || b.last != b.ended || b.took != b.yielded {
			t.Fatalf("execution %d: %+v", n, *b)
		}
		if owes := b.yielded + b.mayYield; owes < b.yielded+creditWindow-creditGivenBack {
			t.Fatalf("execution %d may yield %d, although all was taken", n, b.mayYield)
		}
	}
	for m := range w.peers {
		if m.connected.Load() && len(m.pieces.turns)+len(m.pieces.due)+len(m.executions.unread) > 0 {
			t.Fatalf("%+v is kept", m.pieces)
		}
	}
}

func TestStreamsKeepOrderAndWindowAndLoseNothing(t *testing.T) {
	most := 0
	property.Check(t, func(t *rapid.T) {
		w := newMachine()
		w.makeAllReady(t)
		steps := w.steps()
		for name, step := range map[string]func(*rapid.T){
			"stream": w.submitStream, "stream more": w.submitStream, "offer": w.offerChunk, "offer more": w.offerChunk, "offer most": w.offerChunk,
			"end input": w.endInput, "yield": w.yieldPiece, "yield more": w.yieldPiece, "yield most": w.yieldPiece,
			"give": w.giveCredit, "give more": w.giveCredit, "take": w.takePiece, "take more": w.takePiece,
			"frame most": w.frame, "acknowledge most": w.acknowledgeAll,
		} {
			steps[name] = step
		}
		if rapid.IntRange(0, 2).Draw(t, "calm") > 0 { // else few streams would get far
			for _, name := range []string{"break", "end stream", "refuse", "answer", "answer more", "abandon", "pass", "connect", "submit more"} {
				delete(steps, name)
			}
		}
		t.Repeat(steps)
		w.settle(t)
		for _, entry := range w.all {
			if entry.bodies != nil {
				most = max(most, entry.bodies.received)
			}
		}
		w.finish(t)
		for _, m := range w.members {
			if len(m.pieces.turns)+len(m.pieces.due)+len(m.executions.unread) > 0 {
				t.Fatalf("a process without a stream keeps %+v", m.pieces)
			}
		}
	})
	if most <= creditWindow {
		t.Fatalf("no run took the whole window of a stream: %d bytes at most", most)
	}
}

func (w *machine) acknowledgeAll(t *rapid.T) {
	m := w.drawProcess(t)
	p := w.peers[m]
	p.acknowledged = p.frames
	w.accept(t, m, &executorv1.ReplyFrame{FramesAcknowledged: p.frames})
}
