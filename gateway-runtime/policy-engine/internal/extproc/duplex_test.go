package extproc

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	servicev3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/protobuf/proto"

	"gatewright.dev/policy-engine/internal/chain"
)

// wire is a stream whose other end is the test.
type wire struct {
	comes    chan []byte
	received func() // called when a message has been received; nil: not needed

	mu   sync.Mutex
	kept int
}

func (w *wire) Context() context.Context { return context.Background() }
func (w *wire) Send(_, _ []byte) error   { return nil }

func (w *wire) Keep(more int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.kept += more
}

func (w *wire) Receive(ctx context.Context) ([]byte, error) {
	select {
	case message, ok := <-w.comes:
		if !ok {
			return nil, io.EOF
		}
		if w.received != nil {
			w.received()
		}
		return message, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (w *wire) sends(messages ...*servicev3.ProcessingRequest) {
	for _, message := range messages {
		w.comes <- must(proto.Marshal(message))
	}
}

func requestPiece(text string, end bool) *servicev3.ProcessingRequest {
	return &servicev3.ProcessingRequest{Request: &servicev3.ProcessingRequest_RequestBody{RequestBody: &servicev3.HttpBody{Body: []byte(text), EndOfStream: end}}}
}

func responsePiece(text string, end bool) *servicev3.ProcessingRequest {
	return &servicev3.ProcessingRequest{Request: &servicev3.ProcessingRequest_ResponseBody{ResponseBody: &servicev3.HttpBody{Body: []byte(text), EndOfStream: end}}}
}

var theResponse = &servicev3.ProcessingRequest{Request: &servicev3.ProcessingRequest_ResponseHeaders{ResponseHeaders: &servicev3.HttpHeaders{
	Headers: &corev3.HeaderMap{Headers: []*corev3.HeaderValue{{Key: ":status", RawValue: []byte("200")}}}}}}

// arrived is a front end whose request has come, and whose bodies are both on their way.
func arrived(t *testing.T) (*front, *wire) {
	t.Helper()
	w := &wire{comes: make(chan []byte, 100)}
	f := &front{stream: w}
	w.sends(&servicev3.ProcessingRequest{
		ProtocolConfig: &servicev3.ProtocolConfiguration{
			RequestBodyMode: filterv3.ProcessingMode_FULL_DUPLEX_STREAMED, ResponseBodyMode: filterv3.ProcessingMode_FULL_DUPLEX_STREAMED,
		},
		Request: &servicev3.ProcessingRequest_RequestHeaders{RequestHeaders: &servicev3.HttpHeaders{}},
	})
	if _, err := f.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	return f, w
}

// opened is such a front end whose request has gone on.
func opened(t *testing.T) (*front, *wire) {
	t.Helper()
	f, w := arrived(t)
	if err := f.SendHeaders(chain.Request, chain.Changes{Follows: true}); err != nil {
		t.Fatal(err)
	}
	return f, w
}

func expectPiece(t *testing.T, f *front, direction chain.Direction, want string) {
	t.Helper()
	if piece, err := f.NextPiece(t.Context(), direction); err != nil || string(piece) != want {
		t.Errorf("%s: expected %q, got %q, %v", direction, want, piece, err)
	}
}

// TestPiecesOfTheOtherDirectionAreKept until they are read, and count against the window until then.
func TestPiecesOfTheOtherDirectionAreKept(t *testing.T) {
	f, w := opened(t)
	w.sends(requestPiece("ab", false), requestPiece("cde", true), theResponse, responsePiece("f", true))
	if head, err := f.Response(t.Context()); err != nil || head.Status != 200 || w.kept != 5 {
		t.Fatalf("got %+v, %v; %d bytes kept", head, err, w.kept)
	}
	expectPiece(t, f, chain.Response, "f")
	expectPiece(t, f, chain.Request, "ab")
	if w.kept != 3 {
		t.Errorf("%d bytes kept", w.kept)
	}
	expectPiece(t, f, chain.Request, "cde")
	for _, direction := range []chain.Direction{chain.Request, chain.Response} {
		if _, err := f.NextPiece(t.Context(), direction); !errors.Is(err, io.EOF) {
			t.Errorf("%s: expected its end, got %v", direction, err)
		}
	}
	if w.kept != 0 {
		t.Errorf("%d bytes kept", w.kept)
	}
}

// TestEachDirectionGetsItsPieces: two goroutines read at once, and the receiving one stores pieces for the other.
func TestEachDirectionGetsItsPieces(t *testing.T) {
	f, w := opened(t)
	w.sends(theResponse)
	var readers sync.WaitGroup
	for _, direction := range []chain.Direction{chain.Request, chain.Response} {
		readers.Go(func() {
			count := 0
			for {
				piece, err := f.NextPiece(t.Context(), direction)
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil || string(piece) != direction.String() {
					t.Errorf("%s: got %q, %v", direction, piece, err)
					return
				}
				count++
			}
			if count != 1000 {
				t.Errorf("%s: %d pieces", direction, count)
			}
		})
	}
	for n := range 1000 {
		w.sends(requestPiece("request", n == 999), responsePiece("response", n == 999))
	}
	readers.Wait()
	if w.kept != 0 {
		t.Errorf("%d bytes kept", w.kept)
	}
}

// TestAGoroutineThatStopsWaitingLeavesTheTurn: the other one goes on, no matter which of the two was receiving.
func TestAGoroutineThatStopsWaitingLeavesTheTurn(t *testing.T) {
	cancelled := errors.New("cancelled")
	for range 100 {
		f, w := opened(t)
		ctx, cancel := context.WithCancelCause(t.Context())
		var leaves, stays sync.WaitGroup
		leaves.Go(func() {
			if _, err := f.NextPiece(ctx, chain.Request); !errors.Is(err, cancelled) {
				t.Errorf("expected %v, got %v", cancelled, err)
			}
		})
		stays.Go(func() { _, _ = f.HasBody(t.Context(), chain.Request) })
		cancel(cancelled)
		leaves.Wait()
		w.sends(requestPiece("a", false))
		stays.Wait()
		expectPiece(t, f, chain.Request, "a")
		close(w.comes)
		if _, err := f.Response(t.Context()); err == nil {
			t.Error("a cancelled stream returned a response")
		}
	}
}

func TestTheRestGoesInOrder(t *testing.T) {
	f, w := opened(t)
	w.sends(requestPiece("ab", true), theResponse, responsePiece("c", false), responsePiece("d", true))
	if _, err := f.Response(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.SendRest(t.Context(), chain.Request), f.SendRest(t.Context(), chain.Response), f.Finish(t.Context())); err != nil {
		t.Error(err)
	}
	if w.kept != 0 || len(w.comes) != 0 {
		t.Errorf("%d bytes kept, %d messages not taken", w.kept, len(w.comes))
	}
}

func TestAnAnswerOfEnvoysOwnEndsEachWaitForTheRequest(t *testing.T) {
	f, w := arrived(t)
	w.sends(theResponse)
	if _, err := f.HasBody(t.Context(), chain.Request); !errors.Is(err, chain.ErrResponded) {
		t.Errorf("got %v", err)
	}
	if _, err := f.NextPiece(t.Context(), chain.Request); !errors.Is(err, chain.ErrResponded) {
		t.Errorf("got %v", err)
	}
	if err := f.SendHeaders(chain.Request, chain.Changes{Follows: true}); !errors.Is(err, chain.ErrResponded) {
		t.Errorf("got %v", err)
	}
}

// TestAnInvalidMessageFailsBothDirections: its receiver may have stopped waiting meanwhile; the messages after it are
// no whole body.
func TestAnInvalidMessageFailsBothDirections(t *testing.T) {
	f, w := opened(t)
	w.comes <- []byte{0xff}
	ctx, cancel := context.WithCancel(t.Context())
	w.received = cancel
	if _, err := f.NextPiece(ctx, chain.Request); err == nil {
		t.Error("expected an error")
	}
	w.sends(requestPiece("b", true))
	if piece, err := f.NextPiece(t.Context(), chain.Request); err == nil {
		t.Errorf("got %q", piece)
	}
}

// TestDiscardedPiecesAreNoLongerKept: they would block the other direction for ever.
func TestDiscardedPiecesAreNoLongerKept(t *testing.T) {
	for name, c := range map[string]struct {
		begin func(t *testing.T) (*front, *wire)
		gives func(*front) error
	}{
		"a body that is ended before what came has": {opened, func(f *front) error {
			return f.SendLast(t.Context(), chain.Request, []byte("x"), chain.End{})
		}},
		"an answer of Envoy's own": {arrived, func(f *front) error {
			_, err := f.Response(t.Context())
			return err
		}},
	} {
		f, w := c.begin(t)
		w.sends(requestPiece("ab", false))
		if _, err := f.HasBody(t.Context(), chain.Request); err != nil || w.kept != 2 {
			t.Fatalf("%s: %v, %d bytes kept", name, err, w.kept)
		}
		w.sends(theResponse, requestPiece("cde", false), responsePiece("f", true))
		if err := c.gives(f); err != nil || w.kept != 0 {
			t.Errorf("%s: %v, %d bytes kept", name, err, w.kept)
		}
		if _, err := f.Response(t.Context()); err != nil {
			t.Error(err)
		}
		if expectPiece(t, f, chain.Response, "f"); w.kept != 0 {
			t.Errorf("%s: %d bytes kept", name, w.kept)
		}
	}
}

// TestTheRestIsCopiedAsItPasses: earlier pieces, later pieces, and the end.
func TestTheRestIsCopiedAsItPasses(t *testing.T) {
	f, w := opened(t)
	var copied []string
	f.CopyRest(chain.Request, func(piece []byte) {
		if piece == nil {
			copied = append(copied, "end")
		} else {
			copied = append(copied, string(piece))
		}
	})
	w.sends(requestPiece("a", false), requestPiece("b", false), theResponse)
	expectPiece(t, f, chain.Request, "a") // which is nothing of the rest
	if _, err := f.Response(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := f.SendRest(t.Context(), chain.Request); err != nil {
		t.Fatal(err)
	}
	w.sends(requestPiece("c", false), requestPiece("", false), requestPiece("d", true))
	if err := f.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(copied, " "); got != "b c d end" {
		t.Errorf("expected b c d end, got %s", got)
	}
}

// TestARestThatHasComeIsCopied, with its end.
func TestARestThatHasComeIsCopied(t *testing.T) {
	f, w := opened(t)
	w.sends(theResponse, requestPiece("a", false), requestPiece("b", true), responsePiece("c", true))
	expectPiece(t, f, chain.Response, "c")
	var copied []string
	f.CopyRest(chain.Request, func(piece []byte) { copied = append(copied, string(piece)+".") })
	if err := f.SendRest(t.Context(), chain.Request); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(copied, " "); got != "a. b. ." {
		t.Errorf("expected a, b and the end, got %s", got)
	}
}
