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
// Both directions come on one stream. Whichever goroutine wants a message receives, one at a time, and files what is not
// its own; the others wait until it has received one, and look again.
type front struct {
	stream Stream
	peers  *clientcert.Cache
	shown  Shown
	trace  *exchange.Trace // nil: the exchange is not traced
	show   show            // nil: nobody looks at a response that the chain does not see
	head   chain.Head
	proxy  *proxyAnswers

	showProxy func(answer proxyanswer.Answer) // nil: nobody wants to know whether Envoy has answered by itself
	sending   sync.Mutex                      // one message goes out at a time

	mu         sync.Mutex
	receiving  bool          // a goroutine does, without the mutex
	changed    chan struct{} // closed when it has; nil: nobody waits for it
	message    incoming      // the last message that came; it belongs to the goroutine that receives
	failed     error         // nothing more comes
	showing    bool          // the response that is shown has been asked for, and has not gone on
	responded  bool          // the response's head has come,
	response   chain.Head    // which is this
	answered   bool          // Envoy has made it by itself, and says so in a header
	directions [2]direction
}

// direction is how far the body of one direction has come.
type direction struct {
	mode       filterv3.ProcessingMode_BodySendMode
	sent       bool     // the headers have gone on
	arrived    bool     // a piece has come
	ended      bool     // the last message has come
	trailers   bool     // that was trailers,
	lines      string   // which are these, encoded
	pieces     [][]byte // that have come and nobody has taken,
	room       [1][]byte
	kept       int                // bytes of them that came while another direction was waited for
	forwarding bool               // what still comes is sent on as it is
	copies     func(piece []byte) // of what is sent on so; nil: nobody wants any
	discarding bool               // what still comes is of no interest: Envoy has answered the request, or the body was ended
}

func (f *front) unexpected(want string) error {
	return fmt.Errorf("ext_proc: expected %s, got %s", want, f.message.kind)
}

// plainAddress is ip:port of a client as everybody compares it: proxies that listen on both families name one of IPv4 as
// ::ffff:192.0.2.1, and what stands behind % is a zone of the machine that wrote it.
func plainAddress(address string) string {
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

// Open waits for the request headers. Where Envoy refused a request before its filters saw it (an upgrade), the refusal
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
	f.head.ClientAddress = plainAddress(f.message.client)
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

func checkBodyMode(what string, wanted bool, got filterv3.ProcessingMode_BodySendMode) error {
	want := filterv3.ProcessingMode_NONE
	if wanted {
		want = filterv3.ProcessingMode_FULL_DUPLEX_STREAMED
	}
	if got != want {
		return fmt.Errorf("ext_proc: %s body mode of the route: expected %s, got %s", what, want, got)
	}
	return nil
}

// ---------------------------------------------------------------- receiving

// nobody is what receive is told where no direction's pieces are waited for.
const nobody = chain.Direction(2)

// receive makes something of the next message, or waits until another goroutine has. The caller holds the mutex, and looks
// again for what it wants; taker is the direction whose next piece it will take.
func (f *front) receive(ctx context.Context, taker chain.Direction) error {
	if f.failed != nil {
		return f.failed
	}
	if f.receiving {
		return f.waitChange(ctx)
	}
	f.receiving = true
	message, err := f.receiveMessage(ctx)
	if err == nil {
		f.failed = f.take(message, taker)
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

// waitChange waits until the goroutine that receives has.
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

// receiveMessage waits for the next message, without the mutex. Where ctx is done first nothing is lost.
func (f *front) receiveMessage(ctx context.Context) ([]byte, error) {
	f.mu.Unlock()
	defer f.mu.Lock()
	message, err := f.stream.Receive(ctx)
	if err != nil {
		return nil, receiveError(err)
	}
	return message, nil
}

// take makes the message the one that is now. An error is of all directions: the message is gone, whoever has received it.
func (f *front) take(message []byte, taker chain.Direction) error {
	if err := f.message.decode(message); err != nil {
		return err
	}
	return f.file(taker)
}

// file puts the message where whoever wants it looks, or sends it on.
func (f *front) file(taker chain.Direction) error {
	switch f.message.kind {
	case responseHeaders:
		if f.responded {
			return f.unexpected("one response")
		}
		f.responded, f.response = true, f.message.head
		if f.showProxy != nil {
			f.takeProxyAnswer(&f.response)
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
		return f.filePiece(chain.Request, taker)
	case responseBody, responseTrailers:
		if f.responded {
			return f.filePiece(chain.Response, taker)
		}
	}
	return f.unexpected("a message that may come now")
}

func (f *front) filePiece(direction, taker chain.Direction) error {
	d := &f.directions[direction]
	if d.ended || d.mode != filterv3.ProcessingMode_FULL_DUPLEX_STREAMED {
		return f.unexpected("nothing more of that body")
	}
	if f.message.kind == requestTrailers || f.message.kind == responseTrailers {
		d.ended, d.trailers, d.lines = true, true, f.message.trailers
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
	if direction != taker {
		d.kept += len(f.message.piece)
		f.stream.Keep(len(f.message.piece))
	}
	return nil
}

// takePiece takes a piece that has come, if there is one.
func (f *front) takePiece(d *direction) ([]byte, bool) {
	if len(d.pieces) == 0 {
		return nil, false
	}
	piece := d.pieces[0]
	d.pieces[0], d.pieces = nil, d.pieces[1:]
	if len(d.pieces) == 0 {
		d.pieces = d.room[:0]
	}
	if used := min(d.kept, len(piece)); used > 0 {
		d.kept -= used
		f.stream.Keep(-used)
	}
	return piece, true
}

// discard gives up what has come of a direction and what will: nothing of it counts against the window any more.
func (f *front) discard(d *direction) {
	d.discarding, d.pieces = true, nil
	if d.kept > 0 {
		f.stream.Keep(-d.kept)
		d.kept = 0
	}
}

// receiveError tells a stream that is gone from one that has failed.
func receiveError(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("ext_proc: %w", exchange.ErrGone) // which is no proper end of a message
	}
	return streamError(err)
}

func streamError(err error) error {
	if status.Code(err) == codes.Canceled {
		return fmt.Errorf("%w: %w", exchange.ErrGone, err)
	}
	return err
}

// ---------------------------------------------------------------- chain.FrontEnd: what comes

// Request is the request's head.
func (f *front) Request() chain.Head { return f.head }

// Response waits for the response headers.
func (f *front) Response(ctx context.Context) (chain.Head, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for !f.responded {
		if err := f.receive(ctx, nobody); err != nil {
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
		if piece, ok := f.takePiece(d); ok {
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

// hasRefused reports whether Envoy has answered a request itself that has not gone on.
func (f *front) hasRefused(direction chain.Direction) bool {
	return direction == chain.Request && f.responded && !f.directions[direction].sent
}

// Trailers are those that came behind the body.
func (f *front) Trailers(direction chain.Direction) (v1alpha.Headers, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return trailersOf(f.directions[direction].lines)
}

// HasBody waits until something has come behind the headers: until then Envoy takes a piece of ours for an error, and for
// ever where that is trailers.
func (f *front) HasBody(ctx context.Context, direction chain.Direction) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := &f.directions[direction]
	for !d.arrived && !d.ended {
		if f.hasRefused(direction) {
			return false, chain.ErrResponded
		}
		if err := f.receive(ctx, nobody); err != nil {
			return false, err
		}
	}
	return d.arrived, nil
}

// Finish waits until what passes on has passed.
func (f *front) Finish(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.showing || f.directions[chain.Request].passes() || f.directions[chain.Response].passes() {
		if err := f.receive(ctx, nobody); err != nil {
			return err
		}
	}
	return nil
}

// passes reports whether there is something to come that is sent on as it is.
func (d *direction) passes() bool { return d.forwarding && !d.ended }

// ---------------------------------------------------------------- chain.FrontEnd: what goes

func (f *front) send(message outgoing) error {
	f.sending.Lock()
	defer f.sending.Unlock()
	return streamError(f.stream.Send(message.head, message.body))
}

// SendHeaders answers the headers message, unless it is a request's that Envoy has answered itself meanwhile.
func (f *front) SendHeaders(direction chain.Direction, changes chain.Changes) error {
	changes.Analytics = f.shownAnalytics(changes.Analytics)
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
		f.tellToken(&message)
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

// SendRest passes on what nobody has taken, and what has not come yet.
func (f *front) SendRest(ctx context.Context, direction chain.Direction) error {
	for {
		piece, last, none := f.takeRest(direction)
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

// takeRest takes a piece that has come, and whether it is the last; none: from now on what comes is forwarded.
func (f *front) takeRest(direction chain.Direction) (piece []byte, last, none bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := &f.directions[direction]
	piece, ok := f.takePiece(d)
	if !ok && !d.ended {
		d.forwarding = true
		return nil, false, true
	}
	d.copyRest(piece)
	return piece, d.ended && len(d.pieces) == 0, false
}

// CopyRest has to be given what SendRest sends on.
func (f *front) CopyRest(direction chain.Direction, to func(piece []byte)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.directions[direction].copies = to
}

// copyRest tells of a piece that is sent on, and of the end behind the last one.
func (d *direction) copyRest(piece []byte) {
	if d.copies == nil {
		return
	}
	if len(piece) > 0 {
		d.copies(piece)
	}
	if d.ended && len(d.pieces) == 0 {
		d.copies(nil)
	}
}

// Answer ends the exchange.
func (f *front) Answer(answer chain.Answer) error {
	answer.Analytics = f.shownAnalytics(answer.Analytics)
	message, err := immediateAnswer(&answer)
	if err != nil {
		return err
	}
	if f.show != nil {
		f.mu.Lock()
		f.showing = false // Envoy shows no answer of ours
		f.mu.Unlock()
	}
	return f.sendTraced(message)
}

// shownAnalytics are what Envoy is told of them.
func (f *front) shownAnalytics(analytics map[string]any) map[string]any {
	if len(analytics) == 0 || f.shown == nil {
		return analytics
	}
	return f.shown(analytics)
}
