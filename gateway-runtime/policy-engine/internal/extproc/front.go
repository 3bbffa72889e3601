package extproc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync"

	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gatewright.dev/policy-engine/gen/envoynames"
	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/clientcert"
	"gatewright.dev/policy-engine/internal/exchange"
	"gatewright.dev/policy-engine/internal/extproc/demux"
	"gatewright.dev/policy-engine/internal/proxyanswer"
	"gatewright.dev/sdk/policy/v1alpha"
)

// pieceSize is how much of a body goes to Envoy in one message.
const pieceSize = 64 << 10

// streamedMode is the mode of a body that comes piece by piece.
const streamedMode = filterv3.ProcessingMode_FULL_DUPLEX_STREAMED

// front is one ext_proc stream as the chain's front end: it sends and receives, and what it receives goes through a
// demultiplexer.
//
// Both directions come on one stream. A goroutine that needs a message receives, one at a time, and stores messages of
// the other direction; goroutines that wait for it then ask again. The mutex is held during calls of the demultiplexer
// only, never while a goroutine receives, sends or waits.
type front struct {
	stream Stream
	peers  *clientcert.Cache
	redact RedactAnalytics
	route  string          // the name that Envoy does not know yet, of an operation whose route is shared; "": none
	trace  *exchange.Trace // nil: the exchange is not traced
	show   show            // nil: no watcher needs a response that the chain does not see
	head   chain.Head
	proxy  *proxyAnswers
	other  bool                                    // the Envoy is not the node's own
	modes  [2]filterv3.ProcessingMode_BodySendMode // of the route
	copyTo [2]func(piece []byte)                   // receive a copy of the rest of a body; set before SendRest

	showProxy func(answer proxyanswer.Answer) // nil: answers of Envoy's own are not reported
	sending   sync.Mutex                      // one message goes out at a time

	message   incoming // the last message; the goroutine that has the turn to receive owns it
	responded bool     // the response's headers have come; as message
	answered  bool     // Envoy made the response itself, and says so in a header; set before the response is handed on

	mu    sync.Mutex
	demux demux.Demux // guarded by mu
	kept  int         // guarded by mu: the demultiplexer's, as far as the stream knows
}

// normalizeAddress returns the ip:port of a client in one spelling: a proxy that listens on both families names an IPv4
// client as ::ffff:192.0.2.1, and the text behind % is an interface of the machine that wrote it.
func normalizeAddress(address string) string {
	if !strings.HasPrefix(address, "[") {
		return address
	}
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return address
	}
	return netip.AddrPortFrom(at.Addr().Unmap().WithZone(""), at.Port()).String()
}

// ---------------------------------------------------------------- exchange.FrontEnd

// Open waits for the request headers. If Envoy refused a request before its filters saw it (an upgrade), the refusal
// comes in their place.
func (f *front) Open(ctx context.Context) (exchange.Opening, error) {
	message, err := f.stream.Receive(ctx)
	if err == nil {
		err = f.message.decode(message)
	}
	if err != nil {
		return exchange.Opening{}, receiveError(err)
	}
	if f.message.Kind == demux.ResponseHeaders && f.message.Head.Status >= http.StatusBadRequest {
		return exchange.Opening{Refusal: f.message.Head.Status}, nil
	}
	if f.message.Kind != demux.RequestHeaders {
		return exchange.Opening{}, f.message.Unexpected("request headers first")
	}
	f.head = f.message.Head
	f.head.ClientAddress = normalizeAddress(f.message.client)
	if f.message.certificate != "" {
		if f.head.Peer, err = f.peers.Read(f.message.certificate); err != nil {
			return exchange.Opening{}, fmt.Errorf("ext_proc: %w", err)
		}
	}
	f.head.RequestID = f.head.Headers.Get("x-request-id")
	f.modes = [2]filterv3.ProcessingMode_BodySendMode{f.message.requestMode, f.message.responseMode}
	f.demux.Open(f.message.Ended, [2]bool{f.modes[chain.Request] == streamedMode, f.modes[chain.Response] == streamedMode})
	route := f.message.route
	return exchange.Opening{RequestID: f.head.RequestID, Route: route, ChainID: route[strings.LastIndex(route, envoynames.RouteNameSeparator)+1:], TraceToken: f.message.token}, nil
}

// SetRoute has Envoy log the exchange by this route's name. The first message to Envoy has it.
func (f *front) SetRoute(name string) { f.route = name }

// CheckMode refuses a route whose body modes are not those the chain needs.
func (f *front) CheckMode(c *chain.Chain) error {
	mode := c.Mode()
	if err := checkBodyMode("request", mode.WantsRequestBody(), f.modes[chain.Request]); err != nil {
		return err
	}
	return checkBodyMode("response", mode.WantsResponseBody(), f.modes[chain.Response])
}

func checkBodyMode(message string, needed bool, got filterv3.ProcessingMode_BodySendMode) error {
	want := filterv3.ProcessingMode_NONE
	if needed {
		want = streamedMode
	}
	if got != want {
		return fmt.Errorf("ext_proc: %s body mode of the route: expected %s, got %s", message, want, got)
	}
	return nil
}

// ---------------------------------------------------------------- receiving

// await waits for an event: it receives, sends on what it has received, or waits for the goroutine that does.
func (f *front) await(ctx context.Context, w *demux.Waiter) {
	action := f.next(w)
	for action != demux.Ready {
		switch action {
		case demux.Receive:
			action = f.receive(ctx, w)
		case demux.Forward:
			action = f.done(w, f.forward())
		case demux.PassResponse:
			action = f.done(w, f.passResponse(ctx, w.Response))
		case demux.Wait:
			action = f.waitChanged(ctx, w)
		}
	}
}

// waitChanged waits for the end of another goroutine's turn.
//
//go:noinline
func (f *front) waitChanged(ctx context.Context, w *demux.Waiter) demux.Action {
	select {
	case <-w.Changed:
		return f.next(w)
	case <-ctx.Done():
		w.Err = context.Cause(ctx)
		return demux.Ready
	}
}

// receive waits for the next message, and routes it. If ctx is done first, no message is lost.
func (f *front) receive(ctx context.Context, w *demux.Waiter) demux.Action {
	message, err := f.stream.Receive(ctx)
	switch {
	case err == nil:
		err = f.message.decode(message)
	case ctx.Err() != nil:
		w.Err = receiveError(err)
		f.leave()
		return demux.Ready
	default:
		err = receiveError(err)
	}
	if err != nil {
		return f.done(w, err)
	}
	if f.message.Kind == demux.ResponseHeaders && !f.responded {
		f.responded = true
		if f.showProxy != nil {
			f.extractProxyAnswer(&f.message.Head)
		}
	}
	return f.received(w)
}

// forward sends on the message that has come.
//
//go:noinline
func (f *front) forward() error {
	f.copyRest(f.message.Direction(), f.message.Piece, f.message.Last())
	return f.send(echo(&f.message))
}

// The calls of the demultiplexer, with the mutex held.

func (f *front) next(w *demux.Waiter) demux.Action {
	f.mu.Lock()
	defer f.unlock()
	return f.demux.Next(w)
}

func (f *front) received(w *demux.Waiter) demux.Action {
	f.mu.Lock()
	defer f.unlock()
	return f.demux.Received(w, &f.message.Message)
}

func (f *front) done(w *demux.Waiter, err error) demux.Action {
	f.mu.Lock()
	defer f.unlock()
	return f.demux.Done(w, err)
}

func (f *front) leave() {
	f.mu.Lock()
	defer f.unlock()
	f.demux.Leave()
}

// unlock releases the mutex. Before, the stream learns how many received bytes wait in the demultiplexer.
func (f *front) unlock() {
	if kept := f.demux.Kept(); kept != f.kept {
		f.stream.Keep(kept - f.kept)
		f.kept = kept
	}
	f.mu.Unlock()
}

// receiveError distinguishes a stream that the proxy has cancelled from one that has failed.
func receiveError(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("ext_proc: %w", exchange.ErrProxyCancelled) // an exchange's stream does not end like this
	}
	return streamError(err)
}

func streamError(err error) error {
	if status.Code(err) == codes.Canceled {
		return fmt.Errorf("%w: %w", exchange.ErrProxyCancelled, err)
	}
	return err
}

// ---------------------------------------------------------------- chain.FrontEnd: receiving

// Request is the request's head.
func (f *front) Request() chain.Head { return f.head }

// Response waits for the response headers.
func (f *front) Response(ctx context.Context) (chain.Head, error) {
	w := demux.Waiter{Event: demux.Response}
	if f.await(ctx, &w); w.Err != nil {
		return chain.Head{}, w.Err
	}
	return *w.Response, nil // never changed once it has come
}

// NextPiece waits for the next piece of a body.
func (f *front) NextPiece(ctx context.Context, direction chain.Direction) ([]byte, error) {
	w := demux.Waiter{Event: demux.Piece, Direction: direction}
	f.await(ctx, &w)
	return w.Piece, w.Err
}

// Trailers returns those that came behind the body.
func (f *front) Trailers(direction chain.Direction) (v1alpha.Headers, error) {
	f.mu.Lock()
	text := f.demux.Trailers(direction)
	f.unlock()
	return decodeTrailers(text)
}

// HasBody waits until a message has come behind the headers: until then Envoy treats a piece from the engine as an
// error, and it does so for good if that message is trailers.
//
//go:noinline
func (f *front) HasBody(ctx context.Context, direction chain.Direction) (bool, error) {
	w := demux.Waiter{Event: demux.Body, Direction: direction}
	f.await(ctx, &w)
	return w.HasBody, w.Err
}

// Finish waits until everything that is forwarded has gone.
func (f *front) Finish(ctx context.Context) error {
	w := demux.Waiter{Event: demux.Forwarded}
	f.await(ctx, &w)
	return w.Err
}

// ---------------------------------------------------------------- chain.FrontEnd: sending

func (f *front) send(message outgoing) error {
	f.sending.Lock()
	defer f.sending.Unlock()
	return streamError(f.stream.Send(message.head, message.body))
}

// SendHeaders answers the headers message, unless it is the request's and Envoy has answered the request itself
// meanwhile.
func (f *front) SendHeaders(direction chain.Direction, changes chain.Changes) error {
	changes.Analytics = f.redactAnalytics(changes.Analytics)
	if f.trace != nil && direction == chain.Request {
		traceHeaders(&changes, f.trace)
	}
	if direction == chain.Response && f.answered {
		changes = withoutProxyAnswer(changes)
	}
	message, err := headersAnswer(&changes, f.route, direction == chain.Response)
	if err != nil {
		return err
	}
	asks := f.show != nil && direction == chain.Request
	if asks && !f.other {
		askForResponse(&message, f.modes[chain.Request])
	}
	if f.showProxy != nil && direction == chain.Request {
		f.addToken(&message)
	}
	f.mu.Lock()
	refused := f.demux.PassHeaders(direction, asks)
	f.unlock()
	if refused {
		return chain.ErrResponded
	}
	f.route = ""
	return f.sendTraced(message)
}

// SendPiece sends a piece of a body, in as many messages as it takes.
func (f *front) SendPiece(ctx context.Context, direction chain.Direction, piece []byte) error {
	if len(piece) == 0 {
		return nil
	}
	if may, err := f.HasBody(ctx, direction); err != nil {
		return err
	} else if !may {
		return chain.ErrNoBody
	}
	for len(piece) > pieceSize {
		if err := f.send(pieceAnswer(piece[:pieceSize], false, direction == chain.Response)); err != nil {
			return err
		}
		piece = piece[pieceSize:]
	}
	return f.send(pieceAnswer(piece, false, direction == chain.Response))
}

// SendLast sends the last piece of a body, and ends it. Trailers close a body that came with them.
func (f *front) SendLast(ctx context.Context, direction chain.Direction, piece []byte, end chain.End) error {
	if len(piece) > pieceSize {
		cut := (len(piece) - 1) / pieceSize * pieceSize
		if err := f.SendPiece(ctx, direction, piece[:cut]); err != nil {
			return err
		}
		piece = piece[cut:]
	}
	if _, err := f.HasBody(ctx, direction); err != nil {
		return err
	}
	f.mu.Lock()
	byTrailers := f.demux.EndBody(direction)
	f.unlock()
	if !byTrailers {
		return f.sendEnd(pieceAnswer(piece, true, direction == chain.Response), end.Analytics)
	}
	if err := f.SendPiece(ctx, direction, piece); err != nil {
		return err
	}
	return f.sendEnd(trailersAnswer(&end.Trailers, direction == chain.Response), end.Analytics)
}

// sendEnd sends a message's last answer, with the analytics that streams have left. Envoy adds them to those that it has:
// a value takes the place of one of its name.
func (f *front) sendEnd(message outgoing, analytics map[string]any) error {
	if len(analytics) > 0 {
		if err := message.addAnalytics(f.redactAnalytics(analytics)); err != nil {
			return err
		}
	}
	return f.send(message)
}

// SendRest sends on the pieces that were not read, and forwards those still to come.
func (f *front) SendRest(ctx context.Context, direction chain.Direction) error {
	for {
		piece, last, none := f.nextRest(direction)
		if none {
			return nil
		}
		f.copyRest(direction, piece, last)
		if last {
			return f.SendLast(ctx, direction, piece, chain.End{})
		}
		if err := f.SendPiece(ctx, direction, piece); err != nil {
			return err
		}
	}
}

func (f *front) nextRest(direction chain.Direction) (piece []byte, last, none bool) {
	f.mu.Lock()
	defer f.unlock()
	return f.demux.NextRest(direction)
}

// CopyRest has `to` called with every piece that SendRest sends on.
func (f *front) CopyRest(direction chain.Direction, to func(piece []byte)) { f.copyTo[direction] = to }

// copyRest hands a piece of the rest to the receiver of copies, and nil behind the last one.
func (f *front) copyRest(direction chain.Direction, piece []byte, last bool) {
	copyTo := f.copyTo[direction]
	if copyTo == nil {
		return
	}
	if len(piece) > 0 {
		copyTo(piece)
	}
	if last {
		copyTo(nil)
	}
}

// Answer ends the exchange.
func (f *front) Answer(answer chain.Answer) error {
	answer.Analytics = f.redactAnalytics(answer.Analytics)
	message, err := immediateAnswer(&answer, f.route)
	if err != nil {
		return err
	}
	if f.show != nil {
		f.mu.Lock()
		f.demux.Answered()
		f.unlock()
	}
	return f.sendTraced(message)
}

// redactAnalytics returns the analytics as they go to Envoy.
func (f *front) redactAnalytics(analytics map[string]any) map[string]any {
	if len(analytics) == 0 || f.redact == nil {
		return analytics
	}
	return f.redact(analytics)
}
