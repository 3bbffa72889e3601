package pythonbridge

import (
	"context"
	"testing"
	"testing/synctest"

	executorv1 "gatewright.dev/policy-engine/gen/executor/v1"
	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/sdk/policy/v1alpha"
)

// upload is a body that a test sends chunk by chunk.
type upload struct {
	chunks   chan []byte // closed: the body ends
	failure  chan error
	trailers *v1alpha.Trailers
	came     v1alpha.Headers // trailers, with the end
	left     chan struct{}   // closed when no more chunks are requested
	asked    chan struct{}   // a token for each time that a chunk is asked for
}

func newUpload() *upload {
	return &upload{chunks: make(chan []byte), failure: make(chan error, 1), trailers: &v1alpha.Trailers{},
		left: make(chan struct{}), asked: make(chan struct{}, 1024)}
}

// given is an upload whose chunks are all there.
func given(chunks ...string) *upload {
	u := newUpload()
	u.chunks = make(chan []byte, len(chunks))
	for _, chunk := range chunks {
		u.chunks <- []byte(chunk)
	}
	close(u.chunks)
	return u
}

func (u *upload) sequence(ctx context.Context) v1alpha.Chunks {
	return func(yield func([]byte, error) bool) {
		defer close(u.left)
		for {
			u.asked <- struct{}{}
			select {
			case chunk, more := <-u.chunks:
				if !more {
					u.trailers.Headers = u.came
					return
				}
				if !yield(chunk, nil) {
					return
				}
			case err := <-u.failure:
				yield(nil, err)
				return
			case <-ctx.Done():
				yield(nil, ctx.Err())
				return
			}
		}
	}
}

func (u *upload) wantUntouched(t *testing.T) {
	t.Helper()
	if len(u.asked) > 0 {
		t.Fatalf("expected no chunk to be asked for, %d were", len(u.asked))
	}
}

// piece is a piece of a stream's output, or its error.
type piece struct {
	data []byte
	err  error
}

// reader reads a stream's output, one piece for each that the test receives.
type reader struct {
	t      testing.TB
	pieces chan piece    // closed at the end
	stop   chan struct{} // closed: no more is wanted
	cancel context.CancelFunc
	req    *v1alpha.RequestContext
	body   *upload
}

// stream runs on_request_stream beside the script.
func stream(t testing.TB, policy v1alpha.Policy, body *upload) *reader {
	t.Helper()
	return streamIn(context.Background(), t, policy, body)
}

// streamIn is like stream, in a context.
func streamIn(ctx context.Context, t testing.TB, policy v1alpha.Policy, body *upload) *reader {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	r := &reader{t: t, pieces: make(chan piece), stop: make(chan struct{}), cancel: cancel, req: request(), body: body}
	r.req.Analytics = &v1alpha.Analytics{}
	t.Cleanup(func() {
		cancel()
		for range r.pieces { //nolint:revive // to its end
		}
	})
	r.req.Trailers = body.trailers
	go r.read(policy.(v1alpha.RequestStreamer).OnRequestStream(ctx, r.req, body.sequence(ctx)))
	return r
}

func (r *reader) read(chunks v1alpha.Chunks) {
	defer close(r.pieces)
	for data, err := range chunks {
		select {
		case r.pieces <- piece{data, err}:
		case <-r.stop:
			return
		}
	}
}

func (r *reader) want(text string) {
	r.t.Helper()
	got, more := <-r.pieces
	if !more || got.err != nil || string(got.data) != text {
		r.t.Fatalf("expected the piece %.40q, got %.40q, %v; ended: %v", text, got.data, got.err, !more)
	}
}

func (r *reader) wantEnd() {
	r.t.Helper()
	if got, more := <-r.pieces; more {
		r.t.Fatalf("expected the end, got %.40q, %v", got.data, got.err)
	}
}

func (r *reader) wantError() error {
	r.t.Helper()
	got, more := <-r.pieces
	if !more || got.err == nil {
		r.t.Fatalf("expected an error, got %.40q; ended: %v", got.data, !more)
	}
	r.wantEnd()
	return got.err
}

// next returns the one execution of the next frame, with which a stream begins.
func (c *conversation) streamBegins() uint64 {
	c.t.Helper()
	frame := c.nextFrame()
	if len(frame.GetExecutions()) != 1 || len(frame.GetPieces()) != 0 {
		c.t.Fatalf("expected one execution and nothing else, got %v", frame)
	}
	return frame.GetExecutions()[0].GetId()
}

// wantPiece reads a stream's next pieces, up to so many bytes, and to the last one if it is expected. It returns the
// last.
func (c *conversation) wantPiece(id uint64, data string, last bool) (piece *executorv1.Piece) {
	c.t.Helper()
	var got []byte
	for len(got) < len(data) || (last && !piece.GetLast()) {
		frame := c.nextFrame()
		if len(frame.GetPieces()) != 1 || frame.GetPieces()[0].GetId() != id {
			c.t.Fatalf("expected one piece of %d, got %.200v", id, frame)
		}
		piece = frame.GetPieces()[0]
		got = append(got, piece.GetData()...)
	}
	if string(got) != data || piece.GetLast() != last {
		c.t.Fatalf("expected %.40q of %d, last: %v; got %.40q, last: %v", data, id, last, got, piece.GetLast())
	}
	return piece
}

func (c *conversation) yield(id uint64, data ...string) {
	frame := &executorv1.ReplyFrame{FramesAcknowledged: c.acknowledged}
	for _, piece := range data {
		frame.Pieces = append(frame.Pieces, &executorv1.Piece{Id: id, Data: []byte(piece)})
	}
	c.reply(frame)
}

func (c *conversation) wantCancel(id uint64) {
	c.t.Helper()
	if frame := c.nextFrame(); len(frame.GetCancel()) != 1 || frame.GetCancel()[0] != id {
		c.t.Fatalf("expected a frame that cancels %d, got %.200v", id, frame)
	}
}

func (c *conversation) fails(id uint64, class executorv1.FailureClass) {
	c.answer(&executorv1.Action{Id: id, Failure: &executorv1.Failure{FailureClass: class}})
}

// withStreams runs a test with a fake clock, one executor and one policy that is ready there.
func withStreams(t *testing.T, opts Options, test func(t *testing.T, groups *Groups, c *conversation, policy v1alpha.Policy)) {
	t.Helper()
	withFakeClock(t, func(t *testing.T) {
		x := startExecutor(t)
		groups := connect(t, opts, x)
		c := x.greet(t)
		policy := bridgeOn(t, groups, c)
		test(t, groups, c, policy)
	})
}

// wantNothingLeft fails if any state of a stream is left.
func wantNothingLeft(t *testing.T, groups *Groups, body *upload) {
	t.Helper()
	synctest.Wait()
	if got := statsOf(groups, 0); got.UnderWay+got.Queued+got.Streams != 0 {
		t.Fatalf("expected nothing under way, got %+v", got)
	}
	if len(body.asked) > 0 {
		await.Receive(t, body.left, "the end of asking for chunks")
	}
}
