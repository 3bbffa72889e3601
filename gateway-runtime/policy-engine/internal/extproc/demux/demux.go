// Package demux separates the two directions of an ext_proc stream. It decides which goroutine receives, which direction
// a message belongs to, and which goroutines wake. It does no I/O and has no lock: its owner serializes the calls.
package demux

import (
	"io"

	"gatewright.dev/policy-engine/internal/chain"
)

// Demux is the state of one stream. Goroutines of both directions ask by Next for an event. If it has not come, one of
// them has the turn to receive, and the others wait for the end of that turn.
//
// The goroutine that has the turn hands its message to Received, does what the action says, and ends the turn by Done
// unless Received has ended it.
type Demux struct {
	receiving bool          // a goroutine has the turn
	changed   chan struct{} // closed at the end of the turn; nil: no goroutine waits for it
	failed    error         // no more messages come
	showing   bool          // Envoy was asked for the response's headers for a watcher, and they have not gone on
	responded bool          // the response's headers have come
	response  chain.Head
	bodies    [2]body
}

// body is how far the body of one direction has come.
type body struct {
	streamed    bool     // it comes piece by piece
	sent        bool     // the headers have gone on
	arrived     bool     // a piece has come
	ended       bool     // the last message has come
	trailers    bool     // the last message was trailers
	trailerText string   // the trailers, encoded
	pieces      [][]byte // received, and not read yet
	room        [1][]byte
	keptBytes   int  // bytes in pieces that came while a goroutine wanted something else
	forwarding  bool // the rest of the body is sent on as it is
	discarding  bool // the rest of the body is dropped: Envoy has answered the request, or the chain has ended the body
}

// Waiter is a goroutine that waits for an event, and what comes of that. It is handed on by a pointer, since stacks are
// to stay small.
type Waiter struct {
	Event     Event
	Direction chain.Direction // of a piece or a body

	HasBody  bool            // Ready, Body: it is a body, not trailers
	Response *chain.Head     // Ready, Response and PassResponse: the response's headers
	Piece    []byte          // Ready, Piece
	Err      error           // Ready: why the event does not come
	Changed  <-chan struct{} // Wait: closed when the goroutine should ask again
}

// Event is what has to happen.
type Event uint8

// The events.
const (
	Response  Event = iota // the response's headers come
	Piece                  // the next piece of a body comes, or its end
	Body                   // the first message behind the headers comes
	Forwarded              // all that is to be forwarded has gone on
)

// Action is what a goroutine does next.
type Action uint8

// The actions. A goroutine has the turn with Receive, Forward and PassResponse.
const (
	Ready        Action = iota // the event has come, or never will
	Receive                    // receive a message, and call Received; or Done or Leave
	Wait                       // wait for Changed, and call Next
	Forward                    // send the message on as it is, and call Done
	PassResponse               // let the response go on as it is, and call Done
)

// Open begins the exchange with the request's headers. streamed has the directions whose bodies come piece by piece.
func (d *Demux) Open(requestEnded bool, streamed [2]bool) {
	for direction := range d.bodies {
		d.bodies[direction].streamed = streamed[direction]
	}
	d.bodies[chain.Request].ended = requestEnded
}

// ---------------------------------------------------------------- turns

// Next decides how a goroutine goes on.
func (d *Demux) Next(w *Waiter) Action {
	switch {
	case d.resolve(w):
		return Ready
	case d.failed != nil:
		w.Err = d.failed
		return Ready
	case !d.receiving:
		d.receiving = true
		return Receive
	case d.changed == nil:
		d.changed = make(chan struct{})
	}
	w.Changed = d.changed
	return Wait
}

// resolve reports whether the event has come, or never will.
func (d *Demux) resolve(w *Waiter) bool {
	b := &d.bodies[w.Direction]
	switch w.Event {
	case Response:
		w.Response = &d.response
		return d.responded
	case Piece:
		if d.hasRefused(w.Direction) {
			w.Err = chain.ErrResponded
			return true
		}
		var ok bool
		if w.Piece, ok = b.pop(); !ok && b.ended {
			w.Err = io.EOF
		}
		return ok || b.ended
	case Body:
		if w.HasBody = b.arrived; !b.arrived && !b.ended && d.hasRefused(w.Direction) {
			w.Err = chain.ErrResponded
		}
		return b.arrived || b.ended || w.Err != nil
	}
	return !d.showing && !d.bodies[chain.Request].forwards() && !d.bodies[chain.Response].forwards()
}

// Received routes the message that the goroutine that has the turn has received. An error ends both directions, since the
// message is lost.
func (d *Demux) Received(w *Waiter, message *Message) Action {
	action, err := d.route(w, message)
	if action == Ready {
		return d.Done(w, err)
	}
	return action
}

// Done ends the turn. With an error the stream has failed.
func (d *Demux) Done(w *Waiter, err error) Action {
	d.Leave()
	if err != nil {
		d.failed, w.Err = err, err
		return Ready
	}
	d.showing = d.showing && !d.responded // the turn in which the response came has let it go on
	return d.Next(w)
}

// Leave ends the turn of a goroutine that stops waiting before a message has come.
func (d *Demux) Leave() {
	d.receiving = false
	if d.changed != nil {
		close(d.changed)
		d.changed = nil
	}
}

// ---------------------------------------------------------------- messages

// route stores a message for the direction that it belongs to, or decides to send it on.
func (d *Demux) route(w *Waiter, message *Message) (Action, error) {
	switch message.Kind {
	case ResponseHeaders:
		return d.respond(w, message)
	case RequestBody, RequestTrailers:
		return d.routePiece(w, message)
	case ResponseBody, ResponseTrailers:
		if d.responded {
			return d.routePiece(w, message)
		}
	}
	return Ready, message.Unexpected("a message that may come now")
}

func (d *Demux) respond(w *Waiter, message *Message) (Action, error) {
	if d.responded {
		return Ready, message.Unexpected("one response")
	}
	d.responded, d.response = true, message.Head
	d.bodies[chain.Response].ended = message.Head.Ended
	if request := &d.bodies[chain.Request]; !request.sent {
		request.discard()
	}
	if d.showing {
		w.Response = &d.response
		return PassResponse, nil
	}
	return Ready, nil
}

func (d *Demux) routePiece(w *Waiter, message *Message) (Action, error) {
	direction := message.Direction()
	b := &d.bodies[direction]
	if b.ended || !b.streamed {
		return Ready, message.Unexpected("nothing more of that body")
	}
	if b.ended = message.Last(); message.isTrailers() {
		b.trailers, b.trailerText = true, message.Trailers
	} else {
		b.arrived = true
	}
	switch {
	case b.forwarding:
		return Forward, nil
	case b.discarding || b.trailers:
	default:
		b.push(message.Piece, w.Event == Piece && w.Direction == direction)
	}
	return Ready, nil
}

// push stores a piece. It counts as kept unless the goroutine that has received it is about to read it.
func (b *body) push(piece []byte, read bool) {
	if b.pieces == nil {
		b.pieces = b.room[:0]
	}
	b.pieces = append(b.pieces, piece)
	if !read {
		b.keptBytes += len(piece)
	}
}

// pop removes and returns the first received piece, if there is one.
func (b *body) pop() ([]byte, bool) {
	if len(b.pieces) == 0 {
		return nil, false
	}
	piece := b.pieces[0]
	b.pieces[0], b.pieces = nil, b.pieces[1:]
	if len(b.pieces) == 0 {
		b.pieces = b.room[:0]
	}
	b.keptBytes -= min(b.keptBytes, len(piece))
	return piece, true
}

// discard drops the received pieces, and those still to come.
func (b *body) discard() { b.discarding, b.pieces, b.keptBytes = true, nil, 0 }

// forwards reports whether more of the body will come and be forwarded as it is.
func (b *body) forwards() bool { return b.forwarding && !b.ended }

// hasRefused reports whether Envoy has answered the request itself before its headers went on.
func (d *Demux) hasRefused(direction chain.Direction) bool {
	return direction == chain.Request && d.responded && !d.bodies[direction].sent
}

// Kept is the number of received bytes that wait in the demultiplexer: they stay outside of the flow-control window.
func (d *Demux) Kept() int {
	return d.bodies[chain.Request].keptBytes + d.bodies[chain.Response].keptBytes
}

// Trailers returns those that came behind a body, encoded; "": none.
func (d *Demux) Trailers(direction chain.Direction) string { return d.bodies[direction].trailerText }

// Ended reports whether all of a message has come.
func (d *Demux) Ended(direction chain.Direction) bool { return d.bodies[direction].ended }

// ---------------------------------------------------------------- what the owner sends

// PassHeaders lets a message's headers go on, unless they are the request's and Envoy has answered the request itself. If
// asks is set, they ask Envoy for the response's headers, which then go on as they are.
func (d *Demux) PassHeaders(direction chain.Direction, asks bool) (refused bool) {
	if d.hasRefused(direction) {
		return true
	}
	d.bodies[direction].sent = true
	d.showing = d.showing || asks
	return false
}

// EndBody ends a body with a piece of the owner's. What has come and is not read is dropped, and so is the rest. If
// trailers have come, they close the body instead of the piece.
func (d *Demux) EndBody(direction chain.Direction) (byTrailers bool) {
	b := &d.bodies[direction]
	b.discard()
	return b.trailers
}

// NextRest returns the next piece of the rest of a body, and whether it is the last. none: no more pieces have come, and
// from now on they are forwarded as they come.
func (d *Demux) NextRest(direction chain.Direction) (piece []byte, last, none bool) {
	b := &d.bodies[direction]
	piece, ok := b.pop()
	if !ok && !b.ended {
		b.forwarding = true
		return nil, false, true
	}
	return piece, b.ended && len(b.pieces) == 0, false
}

// Answered notes that the exchange ends with an answer of the gateway's own, which Envoy does not send back.
func (d *Demux) Answered() { d.showing = false }
