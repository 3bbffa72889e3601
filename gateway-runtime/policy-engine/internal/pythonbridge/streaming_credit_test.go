package pythonbridge

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/sdk/policy/v1alpha"
)

// readAll reads frames until none comes, and returns the number of bytes of each stream in them.
func (c *conversation) readAll() map[uint64]int {
	c.t.Helper()
	sizes := map[uint64]int{}
	for {
		synctest.Wait()
		select {
		case frame := <-c.frames:
			for _, piece := range frame.GetPieces() {
				sizes[piece.GetId()] += len(piece.GetData())
			}
			c.ack(1)
		default:
			return sizes
		}
	}
}

func (c *conversation) give(id uint64, bytes int) {
	c.reply(&executorv1.ReplyFrame{Credit: []*executorv1.Credit{{Id: id, Bytes: uint32(bytes)}}})
}

// pour sends an upload chunks as long as they are requested.
func (u *upload) pour(t *testing.T, size int) {
	stop := make(chan struct{})
	go func() {
		for {
			select {
			case u.chunks <- make([]byte, size):
			case <-stop:
				return
			}
		}
	}()
	t.Cleanup(func() { close(stop) })
}

func TestAnUploadWaitsForTheGenerator(t *testing.T) {
	withStreams(t, Options{}, func(t *testing.T, _ *Groups, c *conversation, policy v1alpha.Policy) {
		body := newUpload()
		stream(t, policy, body)
		id := c.streamBegins()
		body.pour(t, 10<<10)
		got := c.readAll()[id]
		if got < creditWindow || got >= creditWindow+maxPieceBytes {
			t.Fatalf("expected the window to be used, and overdrawn by less than a piece, got %d bytes", got)
		}
		if asked := len(body.asked) * 10 << 10; asked > got+maxWaitingBytes+20<<10 {
			t.Fatalf("expected no more to be asked for than may wait here, got %d", asked)
		}
		for range 8 {
			c.give(id, creditGivenBack)
			more := c.readAll()[id]
			if got += more - creditGivenBack; more == 0 || got < creditWindow || got >= creditWindow+maxPieceBytes {
				t.Fatalf("expected the sender to go on with its new credit, got %d bytes, %d not given back", more, got)
			}
		}
	})
}

func TestACreditThatIsUsedUpIsNotOverdrawnByTheEnd(t *testing.T) {
	withStreams(t, Options{}, func(t *testing.T, _ *Groups, c *conversation, policy v1alpha.Policy) {
		body := newUpload()
		r := stream(t, policy, body)
		id := c.streamBegins()
		body.chunks <- make([]byte, creditWindow)
		c.readAll()
		close(body.chunks)
		c.wantNoFrame()
		c.give(id, 1)
		c.wantPiece(id, "", true)
		c.answer(&executorv1.Action{Id: id})
		r.wantEnd()
	})
}

func TestAGeneratorWaitsForItsReader(t *testing.T) {
	withStreams(t, Options{}, func(t *testing.T, _ *Groups, c *conversation, policy v1alpha.Policy) {
		r := stream(t, policy, newUpload())
		id := c.streamBegins()
		full := string(make([]byte, maxPieceBytes))
		c.yield(id, full, full, full, full) // its whole window
		synctest.Wait()
		frame := c.nextFrame() // the first one waits in the next stage already
		if len(frame.GetCredit()) != 1 || frame.GetCredit()[0].GetId() != id || frame.GetCredit()[0].GetBytes() != maxPieceBytes {
			t.Fatalf("expected credit for the piece that was taken, got %v", frame)
		}
		c.wantNoFrame()
		r.want(full)
		if frame := c.nextFrame(); len(frame.GetCredit()) != 1 {
			t.Fatalf("expected credit for the next one, got %v", frame)
		}
		for range 3 {
			r.want(full)
		}
		c.readAll()
		for range 15 { // less than a quarter
			c.yield(id, full[:4<<10])
			r.want(full[:4<<10])
		}
		c.wantNoFrame()
		c.yield(id, full[:4<<10])
		if frame := c.nextFrame(); frame.GetCredit()[0].GetBytes() != creditGivenBack {
			t.Fatalf("expected a quarter of the window to be given back at once, got %v", frame)
		}
	})
}

func TestWaitingChunksAreJoinedAndLargeOnesCut(t *testing.T) {
	withStreams(t, Options{}, func(t *testing.T, _ *Groups, c *conversation, policy v1alpha.Policy) {
		body := newUpload()
		r := stream(t, policy, body)
		id := c.streamBegins()
		body.chunks <- []byte("a")
		frame := c.nextFrameUnacknowledged()
		if len(frame.GetPieces()) != 1 || string(frame.GetPieces()[0].GetData()) != "a" {
			t.Fatalf("expected the first chunk at once, got %v", frame)
		}
		for _, chunk := range []string{"b", "c", "d"} {
			body.chunks <- []byte(chunk)
		}
		large := bytes.Repeat([]byte("0123456789abcdef"), 10<<10) // two pieces and a half
		body.chunks <- large
		synctest.Wait()
		c.ack(1)
		frame = c.nextFrameUnacknowledged()
		var got []byte
		for _, piece := range frame.GetPieces() {
			got = append(got, piece.GetData()...)
		}
		if len(frame.GetPieces()) != 3 || len(frame.GetPieces()[0].GetData()) != maxPieceBytes || len(frame.GetPieces()[1].GetData()) != maxPieceBytes ||
			!bytes.Equal(got, append([]byte("bcd"), large...)) {
			t.Fatalf("expected what waited in three pieces, of which two are full, got %d with %d bytes", len(frame.GetPieces()), len(got))
		}
		c.ack(1)
		close(body.chunks)
		c.wantPiece(id, "", true)
		c.answer(&executorv1.Action{Id: id})
		r.wantEnd()
	})
}

func TestAChunkIsNotCopied(t *testing.T) {
	out, chunk := outgoingPieces{credit: creditWindow}, make([]byte, 2*maxPieceBytes)
	out.add(chunk)
	for at := 0; at < len(chunk); at += maxPieceBytes {
		if piece := out.next(1); &piece.Data[0] != &chunk[at] || cap(piece.Data) != maxPieceBytes {
			t.Fatalf("expected the chunk's own bytes from %d on", at)
		}
	}
}

func TestStreamsTakeTurns(t *testing.T) {
	withStreams(t, Options{}, func(t *testing.T, _ *Groups, c *conversation, policy v1alpha.Policy) {
		large := newUpload()
		stream(t, policy, large)
		first := c.streamBegins()
		large.chunks <- make([]byte, 8*maxPieceBytes)
		c.nextFrameUnacknowledged() // four pieces: all that a frame holds, and all its credit
		small := newUpload()
		stream(t, policy, small)
		synctest.Wait()
		c.ack(1)
		second := c.nextFrame().GetExecutions()[0].GetId()
		small.chunks <- []byte("a")
		c.wantPiece(second, "a", false) // beside a stream that has no credit
		small.chunks <- make([]byte, 2*maxPieceBytes)
		c.readAll()
		c.reply(&executorv1.ReplyFrame{Credit: []*executorv1.Credit{{Id: first, Bytes: creditGivenBack}}})
		c.nextFrameUnacknowledged()
		small.chunks <- make([]byte, maxPieceBytes)
		small.chunks <- make([]byte, maxPieceBytes)
		synctest.Wait()
		c.give(first, creditWindow-creditGivenBack)
		synctest.Wait()
		c.ack(1)
		var order []uint64
		for _, piece := range c.nextFrame().GetPieces() {
			order = append(order, piece.GetId())
		}
		if len(order) != 4 || order[0] == order[1] || order[0] != order[2] || order[1] != order[3] {
			t.Fatalf("expected pieces of %d and %d by turns, got %v", first, second, order)
		}
	})
}

func TestAnExecutionIsSentWithTheNextFrameBesideAnUpload(t *testing.T) {
	withStreams(t, Options{}, func(t *testing.T, _ *Groups, c *conversation, policy v1alpha.Policy) {
		body := newUpload()
		stream(t, policy, body)
		id := c.streamBegins()
		body.pour(t, maxPieceBytes)
		for range 20 {
			frame := c.nextFrameUnacknowledged()
			if len(frame.GetPieces()) == 0 {
				t.Fatalf("expected pieces on the way, got %v", frame)
			}
			answer := callWith(t, patience, policy)
			synctest.Wait()
			c.give(id, len(frame.GetPieces())*maxPieceBytes)
			c.ack(1)
			frame = c.nextFrameUnacknowledged()
			if len(frame.GetExecutions()) != 1 {
				t.Fatalf("expected the execution in the next frame, got %d executions and %d pieces", len(frame.GetExecutions()), len(frame.GetPieces()))
			}
			c.give(id, len(frame.GetPieces())*maxPieceBytes)
			c.acknowledged++
			c.answer(&executorv1.Action{Id: frame.GetExecutions()[0].GetId()})
			if err := await.Receive(t, answer, "the answer").err; err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestPiecesAreSentBesideAFloodOfExecutions(t *testing.T) {
	m, i := managed()
	e := startedStream(t, m, i)
	m.offerChunk(e, []byte("a"))
	for range 600 {
		queued(t, m, i, 0)
	}
	frame := &executorv1.RequestFrame{}
	if !m.fillFrame(frame, time.Now()) || len(frame.Executions) != maxFrameExecutions || len(frame.Pieces) != 1 {
		t.Fatalf("expected the piece in the first frame, got %d executions and %d pieces", len(frame.Executions), len(frame.Pieces))
	}
}

// startedStream is a stream that the process has acknowledged.
func startedStream(t testing.TB, m *StreamManager, i *instance) *execution {
	t.Helper()
	e, err := requestStreamExecution(t.Context(), i, request())
	must(err)
	must(m.submit(e, i.placementIn(m)))
	m.fillFrame(&executorv1.RequestFrame{}, time.Now())
	must(m.accept(&executorv1.ReplyFrame{FramesAcknowledged: m.credit.sent}))
	if !e.body.started {
		t.Fatal("expected the stream to be started")
	}
	return e
}

func TestAFrameHoldsAtMost256Pieces(t *testing.T) {
	m, i := managed()
	var all []*execution
	for range 300 {
		all = append(all, startedStream(t, m, i))
	}
	for _, e := range all {
		m.offerChunk(e, []byte("a"))
	}
	frame := &executorv1.RequestFrame{}
	for _, want := range []int{maxFrameExecutions, 300 - maxFrameExecutions} {
		if !m.fillFrame(frame, time.Now()) || len(frame.Pieces) != want {
			t.Fatalf("expected %d pieces, got %d", want, len(frame.Pieces))
		}
		must(m.accept(&executorv1.ReplyFrame{FramesAcknowledged: m.credit.sent}))
	}
}
