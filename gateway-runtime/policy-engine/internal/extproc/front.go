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

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/clientcert"
	"gatewright.dev/policy-engine/internal/exchange"
	"gatewright.dev/policy-engine/internal/proxyanswer"
	"gatewright.dev/sdk/policy/v1alpha"
)

// pieceSize is how much of a body goes to Envoy in one message.
const pieceSize = 64 << 10

// front is one ext_proc stream as the chain's front end.
//
// Both directions come on one stream. A goroutine that needs a message receives, one at a time, and stores messages of
// the other direction; goroutines that wait for it then check again.
type front struct {
	stream Stream
	peers  *clientcert.Cache
	redact RedactAnalytics
	trace  *exchange.Trace // nil: the exchange is not traced
	show   show            // nil: no watcher needs a response that the chain does not see
	head   chain.Head
	proxy  *proxyAnswers

	showProxy func(answer proxyanswer.Answer) // nil: answers of Envoy's own are not reported
	sending   sync.Mutex                      // one message goes out at a time

	mu         sync.Mutex
	receiving  bool          // a goroutine waits for a message, without the mutex
	changed    chan struct{} // closed when that goroutine has received one; nil: no goroutine waits for it
	message    incoming      // the last message; the goroutine that sets receiving owns it
	failed     error         // the stream has failed: no more messages come
	showing    bool          // Envoy was asked for the response's headers for a watcher, and they have not gone on
	responded  bool          // the response's headers have come
	response   chain.Head    // their content
	answered   bool          // Envoy made the response itself, and says so in a header
	directions [2]direction
}

// direction is how far the body of one direction has come.
type direction struct {
	mode        filterv3.ProcessingMode_BodySendMode
	sent        bool     // the headers have gone on
	arrived     bool     // a piece has come
	ended       bool     // the last message has come
	trailers    bool     // the last message was trailers
	trailerText string   // the trailers, encoded
	pieces      [][]byte // received, and not read yet
	room        [1][]byte
	keptBytes   int                // bytes in pieces that came while a goroutine waited for the other direction
	forwarding  bool               // the rest of the body is sent on as it is
	copyTo      func(piece []byte) // receives a copy of the rest; nil: no copy is needed
	discarding  bool               // the rest of the body is dropped: Envoy has answered the request, or the chain has ended the body
}

func (f *front) unexpected(want string) error {
	return fmt.Errorf("ext_proc: expected %s, got %s", want, f.message.kind)
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
	if f.message.kind == responseHeaders && f.message.head.Status >= http.StatusBadRequest {
		return exchange.Opening{Refusal: f.message.head.Status}, nil
	}
	if f.message.kind != requestHeaders {
		return exchange.Opening{}, f.unexpected("request headers first")
	}
	f.head = f.message.head
	f.head.ClientAddress = normalizeAddress(f.message.client)
	if f.message.certificate != "" {
		if f.head.Peer, err = f.peers.Read(f.message.certificate); err != nil {
			return exchange.Opening{}, fmt.Errorf("ext_proc: %w", err)
		}
	}
	f.head.RequestID = f.head.Headers.Get("x-request-id")
	f.directions[chain.Request].mode, f.directions[chain.Response].mode = f.message.requestMode, f.message.responseMode
	f.directions[chain.Request].ended = f.message.ended
	route := f.message.route
	return exchange.Opening{RequestID: f.head.RequestID, Route: route, ChainID: route[strings.LastIndexByte(route, '|')+1:], TraceToken: f.message.token}, nil
}

// CheckMode refuses a route whose body modes are not those the chain needs.
func (f *front) CheckMode(c *chain.Chain) error {
	mode := c.Mode()
	if err := checkBodyMode("request", mode.WantsRequestBody(), f.directions[chain.Request].mode); err != nil {
		return err
	}
	return checkBodyMode("response", mode.WantsResponseBody(), f.directions[chain.Response].mode)
}

func checkBodyMode(message string, needed bool, got filterv3.ProcessingMode_BodySendMode) error {
	want := filterv3.ProcessingMode_NONE
	if needed {
		want = filterv3.ProcessingMode_FULL_DUPLEX_STREAMED
	}
	if got != want {
		return fmt.Errorf("ext_proc: %s body mode of the route: expected %s, got %s", message, want, got)
	}
	return nil
}

// ---------------------------------------------------------------- receiving

// noDirection is the reader of a receive that waits for headers, not for pieces.
const noDirection = chain.Direction(2)

// receive reads and handles the next message, or waits until another goroutine has. The caller holds the mutex, and
// checks afterwards whether its own message has come. reader is the direction whose next piece the caller is about to
// read.
func (f *front) receive(ctx context.Context, reader chain.Direction) error {
	if f.failed != nil {
		return f.failed
	}
	if f.receiving {
		return f.waitChange(ctx)
	}
	f.receiving = true
	message, err := f.receiveMessage(ctx)
	if err == nil {
		f.failed = f.decodeNext(message, reader)
		err = f.failed
	} else if ctx.Err() == nil {
		f.failed = err
	}
	f.receiving = false
	if f.changed != nil {
		close(f.changed)
		f.changed = nil
	}
	return err
}

// waitChange waits until the receiving goroutine has a message.
func (f *front) waitChange(ctx context.Context) error {
	if f.changed == nil {
		f.changed = make(chan struct{})
	}
	changed := f.changed
	f.mu.Unlock()
	defer f.mu.Lock()
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// receiveMessage waits for the next message, without the mutex. If ctx is done first, no message is lost.
func (f *front) receiveMessage(ctx context.Context) ([]byte, error) {
	f.mu.Unlock()
	defer f.mu.Lock()
	message, err := f.stream.Receive(ctx)
	if err != nil {
		return nil, receiveError(err)
	}
	return message, nil
}

// decodeNext decodes message into f.message and routes it. An error ends both directions, since the message is lost.
func (f *front) decodeNext(message []byte, reader chain.Direction) error {
	if err := f.message.decode(message); err != nil {
		return err
	}
	return f.route(reader)
}

// route stores the decoded message for the direction that it belongs to, or forwards it.
func (f *front) route(reader chain.Direction) error {
	switch f.message.kind {
	case responseHeaders:
		if f.responded {
			return f.unexpected("one response")
		}
		f.responded, f.response = true, f.message.head
		if f.showProxy != nil {
			f.extractProxyAnswer(&f.response)
		}
		f.directions[chain.Response].ended = f.response.Ended
		if request := &f.directions[chain.Request]; !request.sent {
			f.discard(request)
		}
		if f.showing {
			return f.passResponse()
		}
		return nil
	case requestBody, requestTrailers:
		return f.routePiece(chain.Request, reader)
	case responseBody, responseTrailers:
		if f.responded {
			return f.routePiece(chain.Response, reader)
		}
	}
	return f.unexpected("a message that may come now")
}

func (f *front) routePiece(direction, reader chain.Direction) error {
	d := &f.directions[direction]
	if d.ended || d.mode != filterv3.ProcessingMode_FULL_DUPLEX_STREAMED {
		return f.unexpected("nothing more of that body")
	}
	if f.message.kind == requestTrailers || f.message.kind == responseTrailers {
		d.ended, d.trailers, d.trailerText = true, true, f.message.trailers
	} else {
		d.ended, d.arrived = f.message.ended, true
	}
	switch {
	case d.forwarding:
		d.copyRest(f.message.piece)
		f.mu.Unlock()
		defer f.mu.Lock()
		return f.send(echo(&f.message))
	case d.discarding || d.trailers:
		return nil
	}
	if d.pieces == nil {
		d.pieces = d.room[:0]
	}
	d.pieces = append(d.pieces, f.message.piece)
	if direction != reader {
		d.keptBytes += len(f.message.piece)
		f.stream.Keep(len(f.message.piece))
	}
	return nil
}

// popPiece removes and returns the first received piece, if there is one.
func (f *front) popPiece(d *direction) ([]byte, bool) {
	if len(d.pieces) == 0 {
		return nil, false
	}
	piece := d.pieces[0]
	d.pieces[0], d.pieces = nil, d.pieces[1:]
	if len(d.pieces) == 0 {
		d.pieces = d.room[:0]
	}
	if used := min(d.keptBytes, len(piece)); used > 0 {
		d.keptBytes -= used
		f.stream.Keep(-used)
	}
	return piece, true
}

// discard drops the received pieces of a direction, and those still to come: they no longer count against the window.
func (f *front) discard(d *direction) {
	d.discarding, d.pieces = true, nil
	if d.keptBytes > 0 {
		f.stream.Keep(-d.keptBytes)
		d.keptBytes = 0
	}
}

// receiveError distinguishes a stream that is gone from one that has failed.
func receiveError(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("ext_proc: %w", exchange.ErrGone) // an exchange's stream does not end like this
	}
	return streamError(err)
}

func streamError(err error) error {
	if status.Code(err) == codes.Canceled {
		return fmt.Errorf("%w: %w", exchange.ErrGone, err)
	}
	return err
}

// ---------------------------------------------------------------- chain.FrontEnd: receiving

// Request is the request's head.
func (f *front) Request() chain.Head { return f.head }

// Response waits for the response headers.
func (f *front) Response(ctx context.Context) (chain.Head, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for !f.responded {
		if err := f.receive(ctx, noDirection); err != nil {
			return chain.Head{}, err
		}
	}
	return f.response, nil
}

// NextPiece waits for the next piece of a body.
func (f *front) NextPiece(ctx context.Context, direction chain.Direction) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := &f.directions[direction]
	for {
		if f.hasRefused(direction) {
			return nil, chain.ErrResponded
		}
		if piece, ok := f.popPiece(d); ok {
			return piece, nil
		}
		if d.ended {
			return nil, io.EOF
		}
		if err := f.receive(ctx, direction); err != nil {
			return nil, err
		}
	}
}

// hasRefused reports whether Envoy has answered the request itself before its headers went on.
func (f *front) hasRefused(direction chain.Direction) bool {
	return direction == chain.Request && f.responded && !f.directions[direction].sent
}

// Trailers returns those that came behind the body.
func (f *front) Trailers(direction chain.Direction) (v1alpha.Headers, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return decodeTrailers(f.directions[direction].trailerText)
}

// HasBody waits until a message has come behind the headers: until then Envoy treats a piece from the engine as an
// error, and it does so for good if that message is trailers.
func (f *front) HasBody(ctx context.Context, direction chain.Direction) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := &f.directions[direction]
	for !d.arrived && !d.ended {
		if f.hasRefused(direction) {
			return false, chain.ErrResponded
		}
		if err := f.receive(ctx, noDirection); err != nil {
			return false, err
		}
	}
	return d.arrived, nil
}

// Finish waits until everything that is forwarded has gone.
func (f *front) Finish(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.showing || f.directions[chain.Request].forwards() || f.directions[chain.Response].forwards() {
		if err := f.receive(ctx, noDirection); err != nil {
			return err
		}
	}
	return nil
}

// forwards reports whether more of the body will come and be forwarded as it is.
func (d *direction) forwards() bool { return d.forwarding && !d.ended }

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
	message, err := headersAnswer(&changes, direction == chain.Response)
	if err != nil {
		return err
	}
	asks := f.show != nil && direction == chain.Request
	if asks {
		askForResponse(&message, f.directions[chain.Request].mode)
	}
	if f.showProxy != nil && direction == chain.Request {
		f.addToken(&message)
	}
	f.mu.Lock()
	refused := f.hasRefused(direction)
	f.directions[direction].sent = !refused
	f.showing = f.showing || asks && !refused
	f.mu.Unlock()
	if refused {
		return chain.ErrResponded
	}
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
func (f *front) SendLast(ctx context.Context, direction chain.Direction, piece []byte, trailers v1alpha.HeaderModifications) error {
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
	d := &f.directions[direction]
	closes := d.trailers
	f.discard(d)
	f.mu.Unlock()
	if !closes {
		return f.send(pieceAnswer(piece, true, direction == chain.Response))
	}
	if err := f.SendPiece(ctx, direction, piece); err != nil {
		return err
	}
	return f.send(trailersAnswer(&trailers, direction == chain.Response))
}

// SendRest sends on the pieces that were not read, and forwards those still to come.
func (f *front) SendRest(ctx context.Context, direction chain.Direction) error {
	for {
		piece, last, none := f.nextRest(direction)
		switch {
		case none:
			return nil
		case last:
			return f.SendLast(ctx, direction, piece, v1alpha.HeaderModifications{})
		}
		if err := f.SendPiece(ctx, direction, piece); err != nil {
			return err
		}
	}
}

// nextRest returns the next received piece, and whether it is the last; none: from now on pieces are forwarded as they
// come.
func (f *front) nextRest(direction chain.Direction) (piece []byte, last, none bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := &f.directions[direction]
	piece, ok := f.popPiece(d)
	if !ok && !d.ended {
		d.forwarding = true
		return nil, false, true
	}
	d.copyRest(piece)
	return piece, d.ended && len(d.pieces) == 0, false
}

// CopyRest has `to` called with every piece that SendRest sends on.
func (f *front) CopyRest(direction chain.Direction, to func(piece []byte)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.directions[direction].copyTo = to
}

// copyRest hands a forwarded piece to the receiver of copies, and nil behind the last one.
func (d *direction) copyRest(piece []byte) {
	if d.copyTo == nil {
		return
	}
	if len(piece) > 0 {
		d.copyTo(piece)
	}
	if d.ended && len(d.pieces) == 0 {
		d.copyTo(nil)
	}
}

// Answer ends the exchange.
func (f *front) Answer(answer chain.Answer) error {
	answer.Analytics = f.redactAnalytics(answer.Analytics)
	message, err := immediateAnswer(&answer)
	if err != nil {
		return err
	}
	if f.show != nil {
		f.mu.Lock()
		f.showing = false // Envoy sends no immediate response back to the engine
		f.mu.Unlock()
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
